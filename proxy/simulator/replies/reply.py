"""What the simulator answers, provider by provider the same: a Prompt in, a Reply out.

The wire formats (openai.py, anthropic.py, gemini.py) read a request into a Prompt and write the Reply down as
their provider would. Same request, same reply: text, tool calls with their ids, counts. Only the reply's own id is
new each time, made from the request's: who keeps books by it (a spend log) would take the second for the first.
What a script says takes the place of the simulator's own words (words.py); a request's limits hold for both.
"""

from __future__ import annotations

import json
import re
from ast import literal_eval
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import orjson

from proxy.simulator.memory import remembering
from proxy.simulator.replies import tokens, words
from proxy.simulator.replies.schema_instance import instance
from proxy.simulator.script import model as script

CALL_TOKENS = 6
"""What a tool call counts beside its arguments."""

FENCED = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)

Finish = Literal["stop", "stop_sequence", "length", "tool", "refusal", "content_filter"]
ToolChoice = Literal["auto", "none", "required"]

FINISHES: dict[script.FinishReason, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool",
    "content_filter": "content_filter",
}
"""A script's word -> ours."""

OWN = script.Reply()
"""A script that says nothing."""

JUST_SAYS = {"text", "timing"}
"""What a script gives that says a text and nothing more of the reply."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the client offers: `schema` is the JSON schema of its arguments."""

    name: str
    schema: Any


# The classes of which every request makes some are not frozen, for that doubles the time to make one.


@dataclass(slots=True)
class Prompt:
    """A request as the reply depends on it.

    `tool` is the one to call in this turn (see `tool_to_call`), `offered` are all of the client's, `results` the
    texts of the tools' results that the last turn brings. `schema` is that of the JSON to answer with (None: free
    text), `limit` the most tokens per choice, `prompt_tokens` what the request counts as. `thinking`: the reply
    shows thoughts; `reasoning`: tokens of reasoning that it counts without showing any. `logprobs`: how many
    alternatives to tell for each token (None: none of it is asked for). `media`: those of `prompt_tokens` that are no
    text, by what they are of (IMAGE, AUDIO and so on).
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
    offered: tuple[Tool, ...] = ()
    results: tuple[str, ...] = ()
    thinking: bool = False
    reasoning: int = 0
    logprobs: int | None = None
    media: tuple[tuple[str, int], ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether nothing in the request bounds a text that is said in reply, or adds to it."""
        return self.limit is None and not (self.stop or self.thinking or self.reasoning)


@dataclass(slots=True)
class Words:
    """A text and its tokens."""

    text: str
    encoded: tokens.Tokens

    def parts(self, size: int = 1) -> list[str]:
        """The text in pieces of `size` tokens, as streams send it."""
        single = tokens.parts(self.encoded)
        grouped = ("".join(single[at : at + size]) for at in range(0, len(single), size))
        return [part for part in grouped if part]

    def spans(self, size: int = 1) -> list[tuple[str, int, int]]:
        """The same with each piece's tokens, as a range of `encoded`."""
        single, pieces, begun = tokens.parts(self.encoded), [], 0
        for at in range(0, len(single), size):
            end = min(at + size, len(single))
            text = "".join(single[at:end])
            if text:
                pieces.append((text, begun, end))
                begun = end
        return pieces


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a tool. `arguments` is JSON; where the limit cut it off, `whole` is False."""

    name: str
    arguments: Words
    whole: bool = True


@dataclass(slots=True)
class Choice:
    """One answer: `words` (of the refusal, where `refused`; empty where there are tool calls alone), then `tools`.

    `tokens` is what it counts as, `reasoning` of them not to be seen in it; `thoughts` is what is shown of those.
    `stopped_by` is the stop sequence that ended it. `finish_given`: the script's, not what follows from the rest.
    """

    words: Words
    finish: Finish
    tokens: int
    tools: tuple[ToolUse, ...] = ()
    refused: bool = False
    stopped_by: str | None = None
    thoughts: Words | None = None
    reasoning: int = 0
    finish_given: bool = False

    @property
    def text(self) -> str:
        return self.words.text


@dataclass(slots=True)
class Reply:
    """`completion_tokens` are those of all choices, `reasoning_tokens` among them."""

    choices: list[Choice]
    prompt_tokens: int
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        for choice in self.choices:
            self.completion_tokens += choice.tokens
            self.reasoning_tokens += choice.reasoning


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


def compose(prompt: Prompt, scripted: script.Reply | None = None) -> Reply:
    """The reply to `prompt`, as `scripted` says where it says something. Raises NoInstance where a schema has no
    instance."""
    given = scripted or OWN
    if given.text is not None and JUST_SAYS.issuperset(given.model_fields_set) and prompt.is_free:
        return Reply([_spoken(given.text)] * prompt.choices, prompt.prompt_tokens)
    calls = _calls(prompt, given)
    choices = [_choice(prompt, given, calls, index) for index in range(prompt.choices)]
    return Reply(choices, prompt.prompt_tokens if given.prompt_tokens is None else given.prompt_tokens)


@remembering
def _spoken(text: str) -> Choice:
    """A text as it is, all of it."""
    encoded = tokens.encode(text) if text else ()
    return Choice(Words(text, encoded), "stop", len(encoded))


def _calls(prompt: Prompt, given: script.Reply) -> list[tuple[str, str]]:
    """The tools to call: the name and the arguments' JSON of each."""
    if given.tool_calls is not None:
        schemas = {tool.name: tool.schema for tool in prompt.offered}
        return [
            (call.name, _arguments(schemas.get(call.name, {})) if call.arguments is None else _json(call.arguments))
            for call in given.tool_calls
        ]
    if prompt.tool is None or _said(given) is not None or given.refusal is not None:
        return []
    return [(prompt.tool.name, _arguments(prompt.tool.schema))]


def _arguments(schema: Any) -> str:
    made = instance(schema)
    return _json(made if isinstance(made, dict) else {})


def _said(given: script.Reply) -> str | None:
    """The text that the script gives."""
    return given.text if given.json_ is None else _json(given.json_)


def _choice(prompt: Prompt, given: script.Reply, calls: list[tuple[str, str]], index: int) -> Choice:
    budget = _Budget(prompt.limit)
    thoughts, reasoning = _reasoning(prompt, given, budget)
    stopped_by = None
    if given.refusal is not None:
        text = given.refusal
    else:
        text, stopped_by = _stopped(_text(prompt, given, bool(calls), index), prompt.stop)
    said = budget.take(text)
    tools: list[ToolUse] = []
    for name, arguments in calls if stopped_by is None else ():
        if budget.exceeded:
            break
        made = budget.take(arguments, CALL_TOKENS)
        tools.append(ToolUse(name, made, whole=not budget.exceeded))
    if budget.exceeded:
        stopped_by = None
    finish = _finish(given, budget, bool(tools), stopped_by)
    return Choice(
        said,
        finish,
        budget.spent,
        tuple(tools),
        given.refusal is not None,
        stopped_by if finish == "stop_sequence" else None,
        thoughts,
        reasoning,
        given.finish_reason is not None,
    )


def _finish(given: script.Reply, budget: _Budget, called: bool, stopped_by: str | None) -> Finish:
    if given.finish_reason is not None:
        return FINISHES[given.finish_reason]
    if budget.exceeded:
        return "length"
    if given.refusal is not None:
        return "refusal"
    if called:
        return "tool"
    return "stop" if stopped_by is None else "stop_sequence"


class _Budget:
    """The tokens that a choice may have and those it has had."""

    def __init__(self, limit: int | None) -> None:
        self.left = limit
        self.spent = 0
        self.exceeded = False

    def take(self, text: str, overhead: int = 0) -> Words:
        """As much of `text` as there is room for."""
        encoded = tokens.encode(text) if text else ()
        if self.left is not None and len(encoded) + overhead > self.left:
            encoded = encoded[: max(self.left - overhead, 0)]
            text = tokens.decode(encoded)
            self.spend(self.left + 1)
        else:
            self.spend(len(encoded) + overhead)
        return Words(text, encoded)

    def spend(self, count: int) -> int:
        """Takes `count` tokens, or what is left of them."""
        if self.left is not None:
            if count > self.left:
                count, self.exceeded = self.left, True
            self.left -= count
        self.spent += count
        return count


def _reasoning(prompt: Prompt, given: script.Reply, budget: _Budget) -> tuple[Words | None, int]:
    """What is shown of the reasoning, and what it counts as."""
    counted = given.reasoning_tokens
    if not prompt.thinking or counted == 0:
        counted = prompt.reasoning if counted is None else counted
        return None, budget.spend(counted) if counted else 0
    text = words.thought(prompt.last_text)
    if counted is None:
        thoughts = budget.take(text)
        return thoughts, budget.spent
    # What models show of their reasoning is a summary: it may be shorter or longer than what was counted.
    return Words(text, tokens.encode(text)), budget.spend(counted)


def _text(prompt: Prompt, given: script.Reply, calls: bool, index: int) -> str:
    said = _said(given)
    if said is not None:
        return said
    if calls:
        return ""
    if prompt.schema is not None:
        return _json(instance(prompt.schema))
    return words.answer(prompt.model, prompt.last_text, prompt.results, prompt.key, index)


def _stopped(text: str, stop: tuple[str, ...]) -> tuple[str, str | None]:
    """`text` up to the first stop sequence in it, and which one that was."""
    found = [(at, sequence) for sequence in stop if sequence and (at := text.find(sequence)) >= 0]
    if not found:
        return text, None
    at, sequence = min(found)
    return text[:at], sequence


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a script's numbers may be larger than orjson writes
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
