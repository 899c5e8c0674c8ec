"""What the simulator answers, provider by provider the same: a Prompt in, a Reply out.

The wire formats (openai.py, anthropic.py, gemini.py) read a request into a Prompt and write the Reply down as
their provider would. Same request, same reply: text, tool calls with their ids, counts. Only the reply's own id is
new each time, made from the request's: who keeps books by it (a spend log) would take the second for the first.
"""

from __future__ import annotations

import re
from ast import literal_eval
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import orjson

from proxy.simulator.replies import tokens
from proxy.simulator.replies.schema_instance import instance

ECHOED = 120
"""Characters of the user's last text that a reply quotes."""

CALL_TOKENS = 6
"""What a tool call counts beside its arguments."""

SENTENCES = (
    "No model was asked; the words are picked by a hash of the request.",
    "Ask the same thing again and the same words come back.",
    "The weather in the example is mild, with a light wind from the west.",
    "A small boat crossed the bay before noon.",
    "Three of the four boxes were packed by the evening.",
    "The answer to the second question follows from the first.",
    "Every step is listed in the order in which it happens.",
    "The train leaves at nine and arrives shortly after eleven.",
    "Both results agree to within two percent.",
    "The garden behind the house is open on weekdays.",
    "Start with the smallest case and work upwards.",
    "The library keeps one copy of each edition.",
    "A short summary is often enough to decide.",
    "The bridge was repaired in the spring and is in use again.",
    "Most of the visitors came on foot.",
    "The list is sorted by date, newest first.",
)

FENCED = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)

Finish = Literal["stop", "stop_sequence", "length", "tool"]
ToolChoice = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the client offers: `schema` is the JSON schema of its arguments."""

    name: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as the reply depends on it.

    `tool` is the one to call in this turn (see `tool_to_call`), `schema` that of the JSON to answer with
    (None: free text), `limit` the most tokens per choice, `prompt_tokens` what the request counts as.
    """

    model: str
    key: bytes
    last_text: str
    prompt_tokens: int
    limit: int | None = None
    stop: tuple[str, ...] = ()
    tool: Tool | None = None
    schema: Any = None
    choices: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer. `text` is the JSON of the arguments where `tool` names the function to call; `encoded` the same
    as tokens. `tokens` is what it counts as; `stopped_by` the stop sequence that ended it."""

    text: str
    encoded: list[int]
    finish: Finish
    tokens: int
    tool: str | None = None
    stopped_by: str | None = None

    def parts(self, size: int = 1) -> list[str]:
        """The text in pieces of `size` tokens, as streams send it."""
        single = tokens.parts(self.encoded)
        grouped = ("".join(single[at : at + size]) for at in range(0, len(single), size))
        return [part for part in grouped if part]


@dataclass(frozen=True, slots=True)
class Reply:
    choices: list[Choice]

    @property
    def completion_tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)


def request_key(model: str, body: Mapping[str, Any], raw: bytes) -> bytes:
    """What a reply is derived from: the request apart from whether and how it is streamed."""
    content = {name: value for name, value in body.items() if name not in ("model", "stream", "stream_options")}
    try:
        canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than orjson writes
        canonical = raw
    return blake2b(model.encode() + b"\0" + canonical, digest_size=32).digest()


def identifier(key: bytes, purpose: str, length: int) -> str:
    """`length` (at most 40) letters and digits that follow from `key` and `purpose`."""
    return b64encode(blake2b(key, digest_size=32, person=purpose.encode()).digest(), b"Zz")[:length].decode()


def moment(key: bytes) -> int:
    """When the reply says it was made, in epoch seconds: within 2025, from the key, as replies never vary."""
    return 1_735_689_600 + int.from_bytes(key[:4], "big") % 31_536_000


def tool_to_call(offered: list[Tool], choice: ToolChoice, name: str | None, users_turn: bool) -> Tool | None:
    """The tool this turn calls: the one named; else the first offered where one is required or, left to the
    model, where the last message is the user's and not a tool's result."""
    if choice == "none" or (choice == "auto" and not users_turn):
        return None
    return next((tool for tool in offered if name is None or tool.name == name), None)


def json_mode_schema(text: str) -> Any:
    """The schema for JSON mode without one: that in the last fenced block of the prompt `text`, which a model
    would follow, else an object of the simulator's own."""
    for block in reversed(FENCED.findall(text)):
        schema = _literal(block)
        if isinstance(schema, dict) and ("properties" in schema or "type" in schema):
            return schema
    return {"properties": {"reply": {"type": "string"}}, "required": ["reply"]}


def _literal(block: str) -> Any:
    """What `block` spells, as JSON or, as some clients print their schemas, in Python; None: neither."""
    for read in (orjson.loads, literal_eval):
        try:
            return read(block)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def compose(prompt: Prompt) -> Reply:
    """The reply to `prompt`. Raises NoInstance where a schema in it has no instance."""
    return Reply([_choice(prompt, index) for index in range(prompt.choices)])


def _choice(prompt: Prompt, index: int) -> Choice:
    if prompt.tool is not None:
        arguments = instance(prompt.tool.schema)
        text = _json(arguments if isinstance(arguments, dict) else {})
        return _limited(text, "tool", prompt.limit, tool=prompt.tool.name)
    if prompt.schema is not None:
        return _limited(_json(instance(prompt.schema)), "stop", prompt.limit)
    text, stopped_by = _stopped(_text(prompt, index), prompt.stop)
    finish: Finish = "stop" if stopped_by is None else "stop_sequence"
    return _limited(text, finish, prompt.limit, stopped_by=stopped_by)


def _limited(
    text: str, finish: Finish, limit: int | None, tool: str | None = None, stopped_by: str | None = None
) -> Choice:
    encoded = tokens.encode(text)
    if limit is not None and len(encoded) > limit:
        encoded = encoded[:limit]
        return Choice(tokens.decode(encoded), encoded, "length", limit, tool)
    extra = CALL_TOKENS if tool is not None else 0
    return Choice(text, encoded, finish, len(encoded) + extra, tool, stopped_by)


def _stopped(text: str, stop: tuple[str, ...]) -> tuple[str, str | None]:
    """`text` up to the first stop sequence in it, and which one that was."""
    found = [(at, sequence) for sequence in stop if sequence and (at := text.find(sequence)) >= 0]
    if not found:
        return text, None
    at, sequence = min(found)
    return text[:at], sequence


def _text(prompt: Prompt, index: int) -> str:
    quoted = " ".join(prompt.last_text[: 4 * ECHOED].split())
    if len(quoted) > ECHOED:
        quoted = quoted[: ECHOED - 1] + "…"
    opening = (
        f'Simulated reply from {prompt.model} to "{quoted}".' if quoted else f"Simulated reply from {prompt.model}."
    )
    seed = blake2b(prompt.key, digest_size=3, salt=index.to_bytes(4, "big")).digest()
    picked = dict.fromkeys(SENTENCES[byte % len(SENTENCES)] for byte in seed)
    return " ".join([opening, *picked])


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
