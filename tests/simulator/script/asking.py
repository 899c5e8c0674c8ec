"""Requests as rules see them, books with a clock turned by hand, and rules written short."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.simulator.script.asked import Asked, Content
from proxy.simulator.script.book import Book, Verdict
from proxy.simulator.script.model import Rule, Script


def asked(text: str = "hello", **fields: Any) -> Asked:
    said = {name: fields.pop(name) for name in ("system", "tools", "tool_results", "turn") if name in fields}
    given: dict[str, Any] = {
        "provider": "openai",
        "api": "chat",
        "model": "gpt-4o",
        "aliases": (),
        "stream": False,
        "headers": {},
        "body": {},
        **fields,
    }
    return Asked(**given, _content=Content(text, **said))


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


def rule(reply: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**({"reply": reply} if reply is not None else {}), **fields}


def book(*rules: Mapping[str, Any], parent: Book | None = None, clock: Clock | None = None, **script: Any) -> Book:
    made = Book(parent, clock or Clock())
    made.replace(Script.model_validate({"rules": list(rules), **script}))
    return made


def add(to: Book, *rules: Mapping[str, Any], first: bool = False) -> list[int]:
    return to.add([Rule.model_validate(one) for one in rules], first)


def said(verdict: Verdict) -> str | None:
    """What a request met, in a word: the reply's text, `<kind>` of a fault (with the reply that it comes with), or
    None for nothing."""
    fault = f"<{verdict.fault.kind}>" if verdict.fault is not None else ""
    reply = (verdict.reply.text or "") if verdict.reply is not None else ""
    return fault + reply if verdict.fault is not None or verdict.reply is not None else None
