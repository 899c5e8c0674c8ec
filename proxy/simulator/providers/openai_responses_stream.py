"""The events of a response as OpenAI streams it; used by openai_responses.py.

Each has its type as the event's name and in its data, and a sequence number
(https://platform.openai.com/docs/api-reference/responses-streaming).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.simulator.providers.wire import dumps
from proxy.simulator.replies.reply import Words

Item = dict[str, Any]
Said = tuple[Item, Words]
"""An item of the output, and what of it comes piece by piece."""

Event = tuple[str, dict[str, Any]]


def written(kind: str, number: int, fields: dict[str, Any]) -> bytes:
    data = dumps({"type": kind, "sequence_number": number, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def item_events(index: int, item: Item, words: Words) -> Iterator[Event]:
    at = {"item_id": item["id"], "output_index": index}
    if item["type"] == "reasoning":
        opened, events = {**item, "summary": []}, _summary_events(at, words)
    elif item["type"] == "message":
        opened, events = {**item, "status": "in_progress", "content": []}, _message_events(at, item, words)
    else:
        opened, events = {**item, "status": "in_progress", "arguments": ""}, _call_events(at, item, words)
    yield "response.output_item.added", {"output_index": index, "item": opened}
    yield from events
    yield "response.output_item.done", {"output_index": index, "item": item}


def _summary_events(at: dict[str, Any], thoughts: Words) -> Iterator[Event]:
    if not thoughts.text:
        return
    place = {**at, "summary_index": 0}
    part = {"type": "summary_text", "text": thoughts.text}
    yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
    for text in thoughts.parts():
        yield "response.reasoning_summary_text.delta", {**place, "delta": text}
    yield "response.reasoning_summary_text.done", {**place, "text": thoughts.text}
    yield "response.reasoning_summary_part.done", {**place, "part": part}


def _message_events(at: dict[str, Any], item: Item, words: Words) -> Iterator[Event]:
    place = {**at, "content_index": 0}
    part = item["content"][0]
    if part["type"] == "refusal":
        yield "response.content_part.added", {**place, "part": {**part, "refusal": ""}}
        for text in words.parts():
            yield "response.refusal.delta", {**place, "delta": text}
        yield "response.refusal.done", {**place, "refusal": words.text}
    else:
        told = part["logprobs"]
        yield "response.content_part.added", {**place, "part": {**part, "text": "", "logprobs": []}}
        for text, start, end in words.spans():
            yield "response.output_text.delta", {**place, "delta": text, "logprobs": told[start:end]}
        yield "response.output_text.done", {**place, "text": words.text, "logprobs": told}
    yield "response.content_part.done", {**place, "part": part}


def _call_events(at: dict[str, Any], item: Item, arguments: Words) -> Iterator[Event]:
    for text in arguments.parts():
        yield "response.function_call_arguments.delta", {**at, "delta": text}
    yield "response.function_call_arguments.done", {**at, "arguments": arguments.text, "name": item["name"]}
