"""Makes or updates `.venv` from requirements.lock. Run by scripts/up and scripts/test with the system's Python.

Standard library only, and no syntax newer than Python 3.6's, so that an old Python gets a message it can read.
Prints the venv's interpreter on standard output; progress goes to standard error.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time

OLDEST, NEWEST = (3, 10), (3, 13)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
LOCK = os.path.join(ROOT, "requirements.lock")
STAMP = os.path.join(VENV, "litellm-local.stamp")
LOG = os.path.join(ROOT, ".venv-setup.log")
# Bytecode, by all cores: pip makes it by one, package after package.
COMPILE = "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)"


def fail(message):
    sys.stderr.write("litellm-local: " + message + "\n")
    sys.exit(1)


def say(message):
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def fingerprint():
    """What the venv was made from: a change of any of it means work to do."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    digest.update(repr((sys.version_info[:2], ROOT)).encode())
    return digest.hexdigest()


def stamp():
    try:
        with open(STAMP) as file:
            return file.read().strip()
    except OSError:
        return ""


class Progress(threading.Thread):
    """Says every few seconds how far pip is, from what it prints."""

    def __init__(self, total):
        super().__init__(daemon=True)
        self.total, self.seen, self.doing = total, 0, ""
        self.began, self.over = time.time(), threading.Event()

    def run(self):
        terminal = sys.stderr.isatty()
        while not self.over.wait(0.5 if terminal else 10):
            what = self.doing or "%d of %d fetched" % (self.seen, self.total)
            line = "  packages: %s (%.0f s)" % (what, time.time() - self.began)
            sys.stderr.write("\r\033[K" + line if terminal else line + "\n")
            sys.stderr.flush()
        if terminal:
            sys.stderr.write("\r\033[K")

    def see(self, line):
        self.seen += line.startswith("Collecting ")
        if line.startswith("Installing collected"):
            self.doing = "installing"


def run_logged(command, log, on_line=None):
    """Runs a command with its output in the log. Returns its exit code."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    try:
        for line in process.stdout:
            log.write(line)
            if on_line:
                on_line(line)
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def make_venv(log):
    python = os.path.join(VENV, "bin", "python")
    works = os.path.exists(python) and not subprocess.call(
        [python, "-c", "import sys, pip; sys.exit(sys.version_info[:2] != %r)" % (sys.version_info[:2],)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if not works and run_logged([sys.executable, "-m", "venv", "--clear", VENV], log):
        fail(
            "%s cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv. "
            "Details: %s" % (sys.executable, LOG)
        )
    return python


def install(python, log):
    with open(LOCK) as file:
        progress = Progress(sum("==" in line for line in file))
    progress.start()
    pip = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--progress-bar",
        "off",
    ]
    # The lock names every package, so there is nothing to resolve. Older pips, left to resolve, take the newest
    # release for a requirement with an extra (`pydantic[email]`) and then refuse it for want of a hash.
    pip += ["--no-deps"]
    try:
        code = run_logged(pip + ["--no-compile", "--require-hashes", "-r", LOCK], log, progress.see) or run_logged(
            pip + ["--no-build-isolation", "-e", ROOT], log, progress.see
        )
        progress.doing = "compiling"
        if not code:
            run_logged([python, "-c", COMPILE], log)  # what can't be compiled is not imported either
    finally:
        progress.over.set()
        progress.join()
    if code:
        log.flush()
        with open(LOG) as file:
            errors = [line for line in file.read().splitlines() if line.startswith("ERROR")][-4:]
        say("\n".join("  " + line for line in errors))
        fail("the packages of requirements.lock could not be installed. Is a package index reachable? Details: " + LOG)


def main():
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        fail(
            "Python 3.10 to 3.13 is needed, this is %d.%d (%s). Set PYTHON=/path/to/python3.12 and run again."
            % (sys.version_info[0], sys.version_info[1], sys.executable)
        )
    python = os.path.join(VENV, "bin", "python")
    wanted = fingerprint()
    if stamp() != wanted or not os.path.exists(python):
        try:
            with open(os.path.join(ROOT, ".venv.lock"), "w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    say("Waiting for another set-up of this checkout to end …")
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if stamp() != wanted:
                    began = time.time()
                    say("Setting up .venv with Python %d.%d (first time or changed lock) …" % sys.version_info[:2])
                    with open(LOG, "w") as log:
                        python = make_venv(log)
                        if os.path.exists(STAMP):
                            os.remove(STAMP)
                        install(python, log)
                    with open(STAMP, "w") as file:
                        file.write(wanted)
                    say("✓ .venv is ready (%.0f s)" % (time.time() - began))
        except OSError as error:
            fail("%s: %s. Is the disk full, or the checkout read-only?" % (error.filename or VENV, error.strerror))
    print(python)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail("set-up stopped; run the command again to go on with it.")
