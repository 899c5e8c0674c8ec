# Sourced by scripts/up and scripts/test: finds a Python that will do and sets PYTHON_IN_VENV.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.10 python; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    command -v python3 || true
}

found=$(find_python)
if [ -z "$found" ]; then
    echo "litellm-local: no Python found. Install Python 3.10 to 3.13, or set PYTHON=/path/to/python3." >&2
    exit 1
fi
PYTHON_IN_VENV=$("$found" "$root/scripts/setup.py") || exit 1
