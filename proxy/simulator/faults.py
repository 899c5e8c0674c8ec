"""What goes wrong on purpose: rules set through `/_double/faults` (control.py), asked for by app.py.

Rules are tried in the order given; the first that fits a request and has times left takes it. A rule that is
used up is passed over, so "two 503s, then one 429" is two rules.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

PROVIDERS = ("openai", "anthropic", "google")

KINDS: dict[str, tuple[str, ...]] = {
    "status": ("status", "retry_after", "after_chunks"),
    "delay": ("seconds", "after_chunks"),
    "hang": ("after_chunks",),
    "drop": (),
    "cut": ("after_chunks",),
    "malformed": ("after_chunks",),
}
"""kind -> the fields that say more about it, beside provider, model and times."""

REQUIRED = {"status": "status", "delay": "seconds"}


class FaultError(ValueError):
    """A rule that cannot be meant; the message says where and what would be right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule.

    `provider`, `model` (as sent upstream): which requests, None for any. `times`: how many, None for all.
    `status`: answered with the provider's own body for it; with `retry_after` seconds in its header.
    `delay`: waits `seconds`, then answers. `hang`: never answers. `drop`: resets the connection before any answer.
    `cut`: breaks the connection off within a stream, or half-way through a body. `malformed`: 200 with what does
    not parse. `after_chunks`: the fault strikes a stream after so many of its events instead of at the start
    (cut: 1, malformed: 0 when not given); for a reply in one piece it is without effect.
    """

    kind: str
    provider: str | None = None
    model: str | None = None
    status: int | None = None
    seconds: float | None = None
    after_chunks: int | None = None
    times: int | None = None
    retry_after: float | None = None


@dataclass(slots=True)
class Rule:
    fault: Fault
    used: int = 0

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.used >= self.fault.times


class FaultBook:
    """The rules in force. Used from one event loop, without awaits, so that `times` counts exactly."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def replace(self, faults: list[Fault]) -> None:
        self._rules = [Rule(fault) for fault in faults]

    def take(self, provider: str, model: str | None) -> Fault | None:
        """The fault this request meets, counted as used; None: it goes well."""
        for rule in self._rules:
            fault = rule.fault
            if fault.provider in (None, provider) and fault.model in (None, model) and not rule.spent:
                rule.used += 1
                return fault
        return None

    def shown(self) -> list[dict[str, Any]]:
        """The rules as they were given, with how often each was `used`."""
        return [{**asdict(rule.fault), "used": rule.used} for rule in self._rules]


def parse_faults(body: Any) -> list[Fault]:
    """The rules of a control call's body, `{"faults": [...]}`. Raises FaultError."""
    if not isinstance(body, dict) or not isinstance(body.get("faults"), list):
        raise FaultError('the body must be a JSON object {"faults": [...]}')
    unknown = [name for name in body if name != "faults"]
    if unknown:
        raise FaultError(f"unknown field {unknown[0]!r}; the body has one field, 'faults'")
    return [_fault(given, f"faults[{index}]") for index, given in enumerate(body["faults"])]


def _fault(given: Any, at: str) -> Fault:
    if not isinstance(given, dict):
        raise FaultError(f"{at}: must be an object")
    names = [one.name for one in fields(Fault)]
    for name in given:
        if name not in names:
            raise FaultError(f"{at}: unknown field {name!r}{_meant(name, names)}; valid: {', '.join(names)}")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        problem = "is missing" if kind is None else f"{kind!r} is unknown{_meant(kind, list(KINDS))}"
        raise FaultError(f"{at}.kind: {problem}; valid: {', '.join(KINDS)}")
    for name in ("status", "seconds", "after_chunks", "retry_after"):
        if given.get(name) is not None and name not in KINDS[kind]:
            takes = ", ".join(KINDS[kind]) or "none"
            raise FaultError(f"{at}.{name}: has no meaning for kind {kind!r} (fields of its own: {takes})")
    needed = REQUIRED.get(kind)
    if needed is not None and given.get(needed) is None:
        raise FaultError(f"{at}.{needed}: kind {kind!r} needs it")
    _texts(given, at)
    _whole(given, at, "status", 400, 599)
    _whole(given, at, "times", 1, None)
    _whole(given, at, "after_chunks", 1 if kind == "status" else 0, None)
    _number(given, at, "seconds")
    _number(given, at, "retry_after")
    fault = Fault(**given)
    return replace(fault, provider="google") if fault.provider == "gemini" else fault


def _texts(given: dict[str, Any], at: str) -> None:
    provider, model = given.get("provider"), given.get("model")
    if provider is not None and provider not in (*PROVIDERS, "gemini"):
        hint = _meant(provider, list(PROVIDERS))
        raise FaultError(
            f"{at}.provider: {provider!r} is unknown{hint}; valid: {', '.join(PROVIDERS)}, or null for any"
        )
    if model is not None and not (isinstance(model, str) and model):
        raise FaultError(f"{at}.model: must be the upstream's model name, or null for any")


def _whole(given: dict[str, Any], at: str, name: str, low: int, high: int | None) -> None:
    value = given.get(name)
    if value is None:
        return
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high)
    if not fits:
        bounds = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise FaultError(f"{at}.{name}: must be a whole number {bounds}, not {value!r}")


def _number(given: dict[str, Any], at: str, name: str) -> None:
    value = given.get(name)
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
        raise FaultError(f"{at}.{name}: must be a number of seconds, 0 or more, not {value!r}")


def _meant(name: Any, valid: list[str]) -> str:
    close = get_close_matches(str(name).lower(), valid, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
