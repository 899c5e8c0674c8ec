"""`double`: the providers' double at the command line. Thin: DoubleClient does it, here it is asked and shown."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.cassettes import record, replay
from proxy.cli.options import deployment_options, json_option, state_option, target_of
from proxy.stack.state import StateDir

if TYPE_CHECKING:
    from proxy.simulator.client import Call, DoubleClient

KINDS = ("delay", "hang", "drop", "cut", "malformed", "rate_limit")
PROVIDERS = ("openai", "anthropic", "google")


@click.group()
def double() -> None:
    """Script what the simulated providers answer, and see what they were asked.

    Rules of the scope `default` hold for all requests; those of another scope for the requests that name it in the
    header x-double-scope, or whose virtual key it belongs to.
    """


double.add_command(record)
double.add_command(replay)


def with_double(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the client of the deployment's double, and the options that say which."""

    @deployment_options
    @state_option
    @click.option("--scope", default="default", show_default=True, help="The scope it is about.")
    @functools.wraps(command)
    def wrapped(url: str | None, key: str | None, state_dir: Path, scope: str, **options: Any) -> None:
        from proxy.simulator.client import DoubleClient, DoubleError

        target = target_of(url, key, StateDir(state_dir))
        here = target.simulator_url and target.control_key
        if not here and target.address is not None:
            raise click.ClickException("the double is behind the edge, which lets no control calls through.")
        address, with_key = (target.simulator_url, target.control_key) if here else (target.url, target.key)
        with DoubleClient(str(address), with_key, scope) as client:
            try:
                command(client, **options)
            except DoubleError as error:
                if error.status == 404 and not here:
                    raise click.ClickException(
                        f"{target.url} is no double: it runs in live mode, or is no litellm-local. "
                        "Start one with: litellm-local up --mode double"
                    ) from None
                raise

    return wrapped


# -- the script ------------------------------------------------------------------------------------------------


@double.command(short_help="Replace the scope's script by a YAML file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_double
@json_option
def load(client: DoubleClient, file: Path, as_json: bool) -> None:
    """Replace the scope's script by the YAML in FILE (see config/double/ for examples)."""
    from proxy.simulator.client import DoubleError

    try:
        _print_script(client.set_script(file.read_text(encoding="utf-8")), as_json)
    except UnicodeDecodeError:
        raise click.ClickException(f"{file}: it is not UTF-8 text.") from None
    except DoubleError as error:
        if not error.problems:
            raise
        lines = [f"{file}:{one.get('line') or 1}: {one.get('path')}: {one.get('message')}" for one in error.problems]
        raise click.ClickException("\n  ".join(["the script cannot be used:", *lines])) from None


@double.command(short_help="The scope's rules, and how often each was used.")
@with_double
@json_option
def show(client: DoubleClient, as_json: bool) -> None:
    """The scope's rules in the order in which they are tried, how often each was used, and what is left of it."""
    _print_script(client.script, as_json)


@double.command()
@click.option("--journal", is_flag=True, help="Forget the journal too.")
@with_double
@json_option
def clear(client: DoubleClient, journal: bool, as_json: bool) -> None:
    """Take all of the scope's rules out."""
    _print_script(client.clear(), as_json)
    if journal:
        client.clear_calls()


@double.command()
@click.argument("rule")
@with_double
@json_option
def remove(client: DoubleClient, rule: str, as_json: bool) -> None:
    """Take one RULE out, by the number that `show` gives it."""
    number = rule.removeprefix("#")  # as the journal has it
    if not number.isdecimal():
        raise click.BadParameter(f"{rule!r} is no number.", param_hint="RULE")
    _print_script(client.remove(int(number)), as_json)


def rule_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which requests a rule is for, and how long it lasts; given to the command as one `rule` without an effect."""

    @click.option("--model", multiple=True, help="Alias or upstream name; * is a wildcard (may be repeated).")
    @click.option("--provider", type=click.Choice(PROVIDERS), multiple=True, help="(may be repeated)")
    @click.option("--text", help="Only where the last text of the user's contains this.")
    @click.option("--stream/--whole", default=None, help="Only streams, or only replies in one piece.")
    @click.option("--times", type=click.IntRange(1), help="So many times; then the rule is passed over.")
    @click.option("--for", "for_", metavar="TIME", help="For so long: 30s, 500ms, 2m.")
    @click.option("--after", metavar="TIME", help="Only after so long.")
    @click.option("--name", help="A name, for the journal.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        model: tuple[str, ...],
        provider: tuple[str, ...],
        text: str | None,
        stream: bool | None,
        **options: Any,
    ) -> None:
        when = {"model": list(model), "provider": list(provider), "text": text, "stream": stream}
        rule = {name: options.pop(name) for name in ("times", "after", "name")}
        rule["for"] = options.pop("for_")
        rule["when"] = {name: value for name, value in when.items() if value not in (None, [])}
        kept = {name: value for name, value in rule.items() if value not in (None, {})}
        command(*args, rule=kept, **options)

    return wrapped


@double.command()
@click.argument("text_", metavar="TEXT")
@click.option("--first-token", metavar="TIME", help="Until the first token of it.")
@click.option("--tokens-per-second", type=float)
@rule_options
@with_double
@json_option
def reply(
    client: DoubleClient,
    text_: str,
    first_token: str | None,
    tokens_per_second: float | None,
    rule: dict[str, Any],
    as_json: bool,
) -> None:
    """Answer with TEXT. Put after the rules there are, so a fault or a reply set before it goes first."""
    timing = {"first_token": first_token, "tokens_per_second": tokens_per_second}
    given = {name: value for name, value in timing.items() if value is not None}
    answer = {"text": text_, **({"timing": given} if given else {})}
    _add(client, {**rule, "reply": answer}, as_json, first=False)


@double.command(short_help="Make requests fail.")
@click.argument("how", metavar="STATUS|KIND")
@click.option("--retry-after", metavar="TIME", help="With a status: the Retry-After header.")
@click.option("--message", help="With a status: instead of the provider's own words.")
@click.option("--seconds", metavar="TIME", help="With delay: how long.")
@click.option("--requests", type=click.IntRange(1), help="With rate_limit: how many pass in each window.")
@click.option("--per", metavar="TIME", help="With rate_limit: the window; 60s if left out.")
@click.option("--after-chunks", type=click.IntRange(0), help="Strike a stream after so many events.")
@click.option("--probability", type=click.FloatRange(0, 1), help="Only this share of the requests.")
@click.option("--seed", type=int, help="With --probability: equal seeds choose equally.")
@rule_options
@with_double
@json_option
def fail(
    client: DoubleClient,
    how: str,
    probability: float | None,
    seed: int | None,
    rule: dict[str, Any],
    as_json: bool,
    **fault: Any,
) -> None:
    """Make requests fail: with a STATUS such as 503, or by KIND: delay, hang, drop, cut, malformed, rate_limit.

    Put before the rules there are. Examples:

    \b
      litellm-local double fail 503 --model gpt-4o --times 2
      litellm-local double fail 429 --retry-after 5s --provider anthropic --for 1m
      litellm-local double fail cut --after-chunks 3 --stream
    """
    if how.isdecimal():
        fault = {"kind": "status", "status": int(how), **fault}
    elif how in KINDS:
        fault = {"kind": how, **fault}
    else:
        raise click.BadParameter(
            f"{how!r} is neither a status nor one of {', '.join(KINDS)}.", param_hint="STATUS|KIND"
        )
    chance = {"probability": probability, "seed": seed}
    given = {**rule, **{name: value for name, value in chance.items() if value is not None}}
    struck = {name: value for name, value in fault.items() if value is not None}
    _add(client, {**given, "fault": struck}, as_json, first=True)


@double.command()
@click.argument("provider", type=click.Choice(PROVIDERS))
@click.option("--for", "for_", metavar="TIME", help="For so long; until cleared if left out.")
@click.option("--status", type=click.IntRange(400, 599), default=503, show_default=True)
@click.option("--flapping", metavar="DOWN/UP", help="Down for so long, up for so long, and so on: 5s/10s.")
@with_double
@json_option
def outage(
    client: DoubleClient, provider: str, for_: str | None, status: int, flapping: str | None, as_json: bool
) -> None:
    """Let all of a PROVIDER's models fail, at once and for a time."""
    rule: dict[str, Any] = {
        "name": f"outage of {provider}",
        "when": {"provider": provider},
        "fault": {"kind": "status", "status": status},
    }
    if for_ is not None:
        rule["for"] = for_
    if flapping is not None:
        down, slash, up = flapping.partition("/")
        if not slash:
            raise click.BadParameter("write it as DOWN/UP, such as 5s/10s.", param_hint="--flapping")
        rule["flapping"] = {"down": down, "up": up}
    _add(client, rule, as_json, first=True)


def _add(client: DoubleClient, rule: dict[str, Any], as_json: bool, *, first: bool) -> None:
    client.add_rules(rule, first=first)
    _print_script(client.script, as_json)


def _print_script(script: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(script, indent=1))
        return
    strict = ", strict" if script["strict"] else ""
    alone = "" if script["inherit"] or script["scope"] == "default" else ", without those of default"
    click.echo(f"Scope {script['scope']}: {_counted(len(script['rules']), 'rule')}{strict}{alone}")
    for rule in script["rules"]:
        click.echo(f"  {rule['id']:>4}  {_state(rule):<24} {_effect(rule)}{_conditions(rule)}")


def _state(rule: dict[str, Any]) -> str:
    if not rule["in_force"]:
        return f"used {rule['used']}×, not in force"
    left = f", {rule['left']} left" if rule["left"] is not None else ""
    until = f", for {rule['expires_in']:.0f} s" if rule["expires_in"] is not None else ""
    return f"used {rule['used']}×{left}{until}"


def _effect(rule: dict[str, Any]) -> str:
    name = f"{rule['name']}: " if rule.get("name") else ""
    if "fault" in rule:
        kind = rule["fault"].get("status") or rule["fault"]["kind"]
        rest = {key: value for key, value in rule["fault"].items() if key not in ("kind", "status")}
        return f"{name}fail {kind}" + "".join(f", {_words(key, value)}" for key, value in rest.items())
    return name + "reply " + _short(json.dumps(rule["reply"].get("text") or rule["reply"], ensure_ascii=False), 60)


def _conditions(rule: dict[str, Any]) -> str:
    when = [_words(key, value) for key, value in (rule.get("when") or {}).items()]
    more = [_words(key, rule[key]) for key in ("probability", "flapping", "after", "priority") if rule.get(key)]
    return (f"  when {', '.join(when)}" if when else "") + (f"  ({', '.join(more)})" if more else "")


def _words(key: str, value: Any) -> str:
    """`model gpt-4o or gpt-4o-mini`, `text contains "weather"`, `retry after 3`."""
    if isinstance(value, list):
        shown = " or ".join(map(str, value))
    elif isinstance(value, dict):
        shown = ", ".join(_words(name, part) for name, part in value.items())
    else:
        shown = f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    return f"{key.replace('_', ' ')} {shown}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# -- the journal -----------------------------------------------------------------------------------------------


@double.command()
@click.option("--model", help="Alias or upstream name; * is a wildcard.")
@click.option("--provider", type=click.Choice(PROVIDERS))
@click.option("--text", help="Only requests with this in a message.")
@click.option("--request", help="Only the attempts of one request: its x-litellm-call-id.")
@click.option("-n", "--lines", type=click.IntRange(1), default=50, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@with_double
@json_option
def journal(client: DoubleClient, lines: int, follow: bool, as_json: bool, **asked: Any) -> None:
    """What the providers were asked, and answered. `--scope '*'` shows all scopes."""
    found = client.calls(**asked)
    shown = found[-lines:]
    if as_json and not follow:
        click.echo(json.dumps([call.entry for call in shown], indent=1))
        return
    _print_calls(shown, as_json, heading=True)
    if follow:
        coming = client.follow(since=found[-1].seq if found else 0)
        if any(asked.values()):  # the journal knows best what fits them
            coming = (call for call in coming if call.seq in _numbers(client.calls(**asked, since=call.seq - 1)))
        _print_calls(coming, as_json, heading=False)


def _numbers(calls: Iterable[Call]) -> set[int]:
    return {call.seq for call in calls}


def _print_calls(calls: Iterable[Call], as_json: bool, *, heading: bool) -> None:
    if heading and not as_json:
        click.echo(
            f"{'time':<12} {'scope':<20} {'request':<8} {'#':>2} {'model':<26} {'outcome':<18} {'':<3} {'ms':>6}  rule"
        )
    for call in calls:
        if as_json:
            click.echo(json.dumps(call.entry))
            continue
        at = time.strftime("%H:%M:%S", time.localtime(call.started_at)) + f".{call.started_at % 1 * 1000:03.0f}"
        took = f"{(call.ended_at - call.started_at) * 1000:.0f}" if call.ended_at else "…"
        click.echo(
            f"{at:<12} {_short(call.scope, 20):<20} {(call.request_id or '-')[:8]:<8} {call.attempt:>2} "
            f"{_short(call.alias or call.model or '-', 26):<26} {call.outcome or 'running':<18} "
            f"{call.status or '-':<3} {took:>6}  {call.rule or ''}".rstrip()
        )


@double.command()
@with_double
@json_option
def scopes(client: DoubleClient, as_json: bool) -> None:
    """All scopes: their rules and how much each was asked."""
    found = client.scopes()
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for one in found:
        strict = ", strict" if one["strict"] else ""
        cassette = ", a cassette" if one.get("cassette") else ""
        counts = f"{_counted(one['calls'], 'call')}, {_counted(one['rules'], 'rule')}"
        click.echo(f"{one['name']:<28} {counts}{strict}{cassette}")


@double.command(name="open")
@deployment_options
@state_option
def open_(url: str | None, key: str | None, state_dir: Path) -> None:
    """Print the address of the live page."""
    target = target_of(url, key, StateDir(state_dir))
    click.echo(f"{target.url}/_double/")
    click.echo("It asks for a key: the master key sees all scopes, a virtual key its own.", err=True)


def _short(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
