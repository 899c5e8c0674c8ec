"""Keyword arguments to rules of the script language. Pure; called by the fixture's methods."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from proxy.simulator.script.model import FAULT_FIELDS, Fault, Reply, Rule, When

WHEN = frozenset(When.model_fields)
REPLY = frozenset(field.alias or name for name, field in Reply.model_fields.items()) - {"text"}
FAULT = frozenset(Fault.model_fields) - {"kind", "status"}
RULE = frozenset(field.alias or name for name, field in Rule.model_fields.items()) - {"when", "reply", "fault"}
BEFORE_REPLIES = 1
"""The priority of faults, unless given: a test that says what fails means it, whatever it lets be answered."""


def reply_rule(text: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """`reply("Sunny", text="weather")`, `reply(tool_calls={"weather": {"city": "Rome"}}, turn=1)`.

    `text` as a keyword is the asking one's; what is answered comes first. Raises TypeError in words.
    """
    reply, rule = _sorted_out("reply", REPLY, given)
    if text is not None:
        if not isinstance(text, str):
            raise TypeError(f"reply(): the text must be a str, not {type(text).__name__}; for JSON, reply(json=…)")
        reply["text"] = text
    elif not reply and "text" in rule.get("when", {}):
        raise TypeError(
            'reply(text=…) is the text of the request to be answered. The answer comes first: reply("Sunny")'
        )
    if "tool_calls" in reply:
        reply["tool_calls"] = _tool_calls(reply["tool_calls"])
    return {**rule, "reply": reply}


def fault_rule(fault: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """`fail(429, retry_after=1, times=2)`, `fail("cut", after_chunks=3, model="gpt-4o")`. Raises TypeError."""
    fields, rule = _sorted_out("fail", FAULT, given)
    if isinstance(fault, bool) or not isinstance(fault, int | str):
        raise TypeError(f"fail(): give a status or one of {', '.join(FAULT_FIELDS)}, not {fault!r}")
    kind = {"kind": "status", "status": fault} if isinstance(fault, int) else {"kind": fault}
    return {"priority": BEFORE_REPLIES, **rule, "fault": {**kind, **fields}}


def _sorted_out(method: str, own: frozenset[str], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the answer is made of, and the rest of the rule: when it applies, how often, how long."""
    answer: dict[str, Any] = {}
    rule: dict[str, Any] = {}
    when: dict[str, Any] = {}
    for written, value in given.items():
        name = "for" if written == "for_" else written
        if name in own:
            answer[name] = value
        elif name in WHEN:
            when[name] = value
        elif name in RULE:
            rule[name] = value
        else:
            known = sorted(own | WHEN | RULE)
            close = difflib.get_close_matches(written, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise TypeError(f"{method}() does not know {written!r}; {hint}")
    return answer, {**({"when": when} if when else {}), **rule}


def _tool_calls(given: Any) -> Any:
    """`{"weather": {"city": "Rome"}}` as well as the script language's list, which can name a tool twice."""
    if isinstance(given, Mapping):
        return [{"name": name, "arguments": dict(arguments)} for name, arguments in given.items()]
    return given
