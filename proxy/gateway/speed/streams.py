"""Streams of chat completions: a chunk of plain text is made after the one before it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import litellm
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import Choice, ChoiceDelta

_TEMPLATE = "_speed_template"
_HIDDEN = "_hidden_params"


def repeat_plain_chunks() -> None:
    """LiteLLM makes each chunk of a stream from nothing: four models of pydantic's, dumped and made anew twice. Those
    of OpenAI's that bring a piece of text, and nothing else that the one before did not, are copies of it here, with
    the other text."""
    from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper

    create = CustomStreamWrapper.chunk_creator

    def chunk_creator(self: Any, chunk: Any) -> Any:
        if not is_plain(chunk) or not is_underway(self):
            return create(self, chunk)
        template: Template | None = self.__dict__.get(_TEMPLATE)
        if template is not None and template.fits(self, chunk):
            self.raise_on_model_repetition()
            self.intermittent_finish_reason = None
            return template.made_with(chunk)
        made = create(self, chunk)
        self.__dict__[_TEMPLATE] = Template.of(self, chunk, made)
        return made

    CustomStreamWrapper.chunk_creator = chunk_creator


def is_underway(stream: Any) -> bool:
    """Whether a stream is past its first chunk and before its last, with nothing held back, and not about to be ended
    for repeating itself."""
    return (
        stream.custom_llm_provider == "openai"
        and stream.sent_first_chunk is True
        and stream.sent_last_chunk is False
        and stream.received_finish_reason is None
        and not stream.holding_chunk
        and stream.merge_reasoning_content_in_choices is False
        and stream._repeated_messages_count + 1 < litellm.REPEATED_STREAMING_CHUNK_LIMIT
    )


def is_plain(chunk: Any) -> bool:
    """Whether a chunk is of the SDK's and brings a piece of text, of the only choice, and nothing else."""
    if type(chunk) is not ChatCompletionChunk or chunk.usage is not None or len(chunk.choices or ()) != 1:
        return False
    choice = chunk.choices[0]
    if type(choice) is not Choice or choice.finish_reason is not None or choice.logprobs is not None:
        return False
    delta = choice.delta
    return (
        type(delta) is ChoiceDelta
        and type(delta.content) is str
        and bool(delta.content)
        and not choice.__pydantic_extra__
        and not delta.__pydantic_extra__
        and delta.role is None
        and delta.function_call is None
        and delta.tool_calls is None
        and delta.refusal is None
    )


@dataclass
class Template:
    """A chunk of the provider's, the stream's state with it, and what LiteLLM made of them."""

    rest: dict[str, Any]
    index: Any
    extra: dict[str, Any]
    state: tuple[Any, ...]
    made: Any

    @classmethod
    def of(cls, stream: Any, chunk: Any, made: Any) -> Template | None:
        if made is None or len(made.choices) != 1:
            return None
        extra = dict(chunk.__pydantic_extra__ or {})
        return cls(rest_of(chunk), chunk.choices[0].index, extra, state_of(stream), copy_of(made))

    def fits(self, stream: Any, chunk: Any) -> bool:
        if self.state != state_of(stream) or self.index != chunk.choices[0].index or self.rest != rest_of(chunk):
            return False
        extra = chunk.__pydantic_extra__ or {}
        return extra.keys() == self.extra.keys() and all(
            value == self.extra[name] or (type(value) is str and type(self.extra[name]) is str)
            for name, value in extra.items()
        )

    def made_with(self, chunk: Any) -> Any:
        new = copy_of(self.made)
        new.choices[0].delta.__pydantic_extra__["content"] = chunk.choices[0].delta.content
        new.__pydantic_extra__.update(chunk.__pydantic_extra__ or {})
        new.__pydantic_private__[_HIDDEN]["created_at"] = time.time()
        return new


def rest_of(chunk: Any) -> dict[str, Any]:
    return {name: value for name, value in chunk.__dict__.items() if name != "choices"}


def state_of(stream: Any) -> tuple[Any, ...]:
    return (
        stream.model,
        stream.response_id,
        stream.system_fingerprint,
        stream.created,
        stream._provider_response_model,
    )


def copy_of(made: Any) -> Any:
    """A chunk of LiteLLM's that shares nothing that can change with the other."""
    choice = made.choices[0]
    delta = with_content(choice.delta, choice.delta.__dict__, choice.delta.__pydantic_extra__)
    new_choice = with_content(choice, choice.__dict__, {**choice.__pydantic_extra__, "delta": delta})
    new = with_content(made, {**made.__dict__, "choices": [new_choice]}, made.__pydantic_extra__)
    private = new.__pydantic_private__
    if private is not None and private.get(_HIDDEN) is not None:
        private[_HIDDEN] = dict(private[_HIDDEN])
    return new


def with_content(model: Any, fields: dict[str, Any], extra: dict[str, Any] | None) -> Any:
    new = object.__new__(type(model))
    private = model.__pydantic_private__
    for slot, content in (
        ("__dict__", dict(fields)),
        ("__pydantic_extra__", None if extra is None else dict(extra)),
        ("__pydantic_fields_set__", set(model.__pydantic_fields_set__)),
        ("__pydantic_private__", None if private is None else dict(private)),
    ):
        object.__setattr__(new, slot, content)
    return new
