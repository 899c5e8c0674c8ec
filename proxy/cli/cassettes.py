"""`double record` and `double replay`: cassettes from the command line. Registered in double.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import json_option, require_run, state_option

if TYPE_CHECKING:
    import httpx

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
    epilog="Options after FILE are those of `up`; see litellm-local up --help.",
)
@click.argument("file", type=_FILE)
@click.argument("up_options", nargs=-1, type=click.UNPROCESSED)
def record(file: Path, up_options: tuple[str, ...]) -> None:
    """Bring the service up in live mode and record what the providers answer into FILE, a cassette.

    What is in FILE stays. It takes the providers' keys, and what is asked of them costs what it costs. Keys, cookies
    and account headers are left out of the file; read it before you share it all the same: prompts and answers are
    in it.
    """
    from proxy.cli.up import up

    words = ["--mode", "live", "--record", str(file), *up_options]
    code = up.main(words, prog_name="litellm-local up", standalone_mode=False)
    raise click.exceptions.Exit(code or 0)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--off", is_flag=True, help="Take the scope's cassette out.")
@click.option(
    "--match",
    type=click.Choice(["request", "order"]),
    default="request",
    show_default=True,
    help="request: the exchange whose request is the same; order: the next one must be the same.",
)
@click.option(
    "--timing",
    type=click.Choice(["none", "recorded"]),
    default="none",
    show_default=True,
    help="Answer at once, or at the pace that was recorded.",
)
@click.option("--scope", default="default", show_default=True, help="Scope that is to answer from the cassette.")
@state_option
@json_option
def replay(file: Path | None, off: bool, match: str, timing: str, scope: str, state_dir: Path, as_json: bool) -> None:
    """Answer from the cassette FILE in the running double; without FILE, show what has been played.

    A request that no rule takes is then answered from the cassette; one that is not in it is an error that says what
    differs. Other scopes inherit the cassette of `default` as they do its rules.
    """
    import httpx

    from proxy.stack import reach
    from proxy.stack.state import StateDir

    if off and file is not None:
        raise click.UsageError("--off takes no FILE.")
    run = require_run(StateDir(state_dir))
    values = reach.secrets_of(run)
    # Straight to the simulator where it can be reached: the gateway's limit on bodies is for requests to models.
    control = reach.control_of(run, values)
    if run.mode != "double":
        raise click.ClickException(
            "the service runs in live mode; it is the double (--mode double) that replays cassettes."
        )
    if control is None:
        raise click.ClickException("the double is behind the edge, which lets no control calls through.")
    url, key = control
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False, params={"scope": scope}
    ) as client:
        try:
            if file is not None:
                answer = client.put(
                    "/_double/cassette",
                    content=file.read_bytes(),
                    params={"match": match, "timing": timing, "file": str(file)},
                    headers={"Content-Type": "application/yaml"},
                )
            else:
                answer = client.request("DELETE" if off else "GET", "/_double/cassette")
        except httpx.HTTPError as error:
            raise click.ClickException(f"the simulator at {url} does not answer: {error}") from None
    shown = _checked(answer, file)
    if as_json:
        click.echo(json.dumps(shown, indent=1))
    else:
        _print(shown)


def _checked(answer: httpx.Response, file: Path | None) -> dict[str, Any]:
    try:
        said: dict[str, Any] = answer.json()
    except ValueError:
        said = {"error": {"message": f"HTTP {answer.status_code}"}}
    if answer.status_code == 200:
        return said
    error = said.get("error", {})
    lines = [
        f"{file}:{problem['line']}: {problem['path']}: {problem['message']}" if problem.get("line") else str(problem)
        for problem in error.get("problems", [])
    ]
    raise click.ClickException("\n  ".join([str(error.get("message", answer.status_code)), *lines]))


def _print(shown: dict[str, Any]) -> None:
    if shown["exchanges"] is None:
        click.echo(f"Scope {shown['scope']} has no cassette.")
        return
    inherited = " (inherited from default)" if shown["inherited"] else ""
    click.echo(
        f"Scope {shown['scope']}{inherited}: {shown['file'] or 'a cassette'}, {shown['exchanges']} exchanges, "
        f"{len(shown['used'])} played, match {shown['match']}, timing {shown['timing']}"
    )
    for state in ("used", "left"):
        for one in shown[state]:
            times = f"played {one['played']}×" if one["played"] else "not played"
            click.echo(f"  {one['number']:>4}  {times:<12} {one['provider']} {one['api']} {one['model']}  {one['at']}")
