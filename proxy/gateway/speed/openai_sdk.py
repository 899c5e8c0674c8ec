"""OpenAI's SDK, by which LiteLLM asks OpenAI: the same requests and replies, put together with less ado."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

_MISSING = object()
_PLAIN = (str, int, float, bool, type(None))
Convert = Callable[[Any], Any]


def read_replies_by_plan() -> None:
    """The SDK finds out anew for each part of each chunk of a stream how its fields are to be read, by the types they
    are declared with. Here that is found out once; a value of another kind than the plan has is read by the SDK."""
    from openai.types.chat import (
        ChatCompletion,
        ChatCompletionChunk,
        ChatCompletionMessage,
        chat_completion,
        chat_completion_chunk,
    )

    kinds: tuple[Any, ...] = (
        ChatCompletionMessage,
        chat_completion.Choice,
        ChatCompletion,
        chat_completion_chunk.ChoiceDelta,
        chat_completion_chunk.Choice,
        ChatCompletionChunk,
    )
    for kind in kinds:  # what is inside another one goes first
        plan_construction(kind)
    construct_directly({ChatCompletion, ChatCompletionChunk})


def construct_directly(kinds: set[Any]) -> None:
    """These are made of a reply's or a chunk's JSON without asking what else they could be."""
    from openai._base_client import BaseClient

    client: Any = BaseClient
    process = client._process_response_data

    def process_response_data(self: Any, *, data: Any, cast_to: Any, response: Any) -> Any:
        if cast_to in kinds and type(data) is dict and not self._strict_response_validation:
            return cast_to.construct(**data)
        return process(self, data=data, cast_to=cast_to, response=response)

    client._process_response_data = process_response_data


def plan_construction(kind: Any) -> None:
    """Gives a model of the SDK's a `construct` that makes the same of the same values."""
    from openai._compat import field_get_default
    from openai._models import _construct_field, _get_extra_fields_type

    fields = kind.model_fields
    if _get_extra_fields_type(kind) is not None or any(field.alias is not None for field in fields.values()):
        return
    construct = kind.construct
    defaults = {name: field_get_default(field) for name, field in fields.items()}
    if not all(isinstance(value, _PLAIN) for value in defaults.values()):
        return
    plans: list[tuple[str, Convert, Any]] = []
    for name, field in fields.items():
        plans.append((name, converter(field.annotation), defaults[name]))

    def fast_construct(_fields_set: set[str] | None = None, **values: Any) -> Any:
        if _fields_set is not None:
            return construct(_fields_set, **values)
        made, given = {}, set()
        for name, convert, default in plans:
            value = values.get(name, _MISSING)
            if value is _MISSING:
                made[name] = default
                continue
            given.add(name)
            if value is None:
                made[name] = default
            elif (converted := convert(value)) is _MISSING:
                made[name] = _construct_field(value=value, field=fields[name], key=name)
            else:
                made[name] = converted
        extra = {} if len(given) == len(values) else {key: value for key, value in values.items() if key not in fields}
        new = kind.__new__(kind)
        for slot, content in (
            ("__dict__", made),
            ("__pydantic_private__", None),
            ("__pydantic_extra__", extra),
            ("__pydantic_fields_set__", given),
        ):
            object.__setattr__(new, slot, content)
        return new

    kind.construct = kind.model_construct = staticmethod(fast_construct)


def converter(annotation: Any) -> Convert:
    """How a value of a field is read, which is not None; _MISSING for one that the SDK must look at itself."""
    from openai import BaseModel

    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (str, int, bool) or origin is Literal:
        return lambda value: value
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return lambda value: annotation.construct(**value) if type(value) is dict else _MISSING
    if origin is list and isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel):
        one = arguments[0]
        return lambda value: (
            [one.construct(**entry) for entry in value]
            if type(value) is list and all(type(entry) is dict for entry in value)
            else _MISSING
        )
    if origin is Union and len(arguments) == 2 and type(None) in arguments:
        inner = next(argument for argument in arguments if argument is not type(None))
        if inner in (str, int, bool, float):
            return lambda value: value if type(value) is inner else _MISSING
        if get_origin(inner) is Literal:
            allowed = frozenset(get_args(inner))
            return lambda value: value if type(value) is str and value in allowed else _MISSING
    return lambda _: _MISSING


def send_plain_requests_as_they_are() -> None:
    """The SDK walks a request along the types it is declared with, in search of files and dates to put as text, each
    message against each kind of message. What came as JSON has none."""
    from openai._utils import is_given
    from openai.resources.chat.completions import completions as module
    from openai.types.chat import completion_create_params as params

    completions: Any = module
    transform = completions.async_maybe_transform
    asked = (params.CompletionCreateParamsStreaming, params.CompletionCreateParamsNonStreaming)

    async def async_maybe_transform(data: Any, expected_type: Any) -> Any:
        if expected_type in asked and type(data) is dict:
            given = {name: value for name, value in data.items() if is_given(value)}
            if is_plain(given):
                return given
        return await transform(data, expected_type)

    completions.async_maybe_transform = async_maybe_transform


def is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return all(map(is_plain, value.values()))
    if kind is list:
        return all(map(is_plain, value))
    return kind in _PLAIN


def make_ids_in_stock() -> None:
    """Each request asks the kernel for the randomness of an id for OpenAI's SDK, which then does not even send it."""
    from openai._base_client import BaseClient

    stock: list[bytes] = []

    def idempotency_key(_: Any) -> str:
        try:
            one = stock.pop()
        except IndexError:
            many = os.urandom(16 * 256)
            stock.extend(many[at : at + 16] for at in range(16, len(many), 16))
            one = many[:16]
        return f"stainless-python-retry-{uuid.UUID(bytes=one, version=4)}"

    client: Any = BaseClient
    client._idempotency_key = idempotency_key


def remember_addresses() -> None:
    """The SDK puts each request's address together from that of the API and the path, and httpx takes both apart."""
    from openai._base_client import BaseClient

    client: Any = BaseClient
    prepare = client._prepare_url

    def prepare_url(self: Any, url: str) -> Any:
        known = self.__dict__.get("_speed_addresses")
        if known is None or known[0] is not self._base_url:
            known = self.__dict__["_speed_addresses"] = (self._base_url, {})
        address = known[1].get(url)
        if address is None:
            address = prepare(self, url)
            if len(known[1]) < _MOST_ADDRESSES:
                known[1][url] = address
        return address

    client._prepare_url = prepare_url


_MOST_ADDRESSES = 100


def look_for_cookies_where_there_are_some() -> None:
    """httpx makes two objects of each reply for http.cookiejar, which then finds that it sets no cookie."""
    from httpx import Cookies

    extract = Cookies.extract_cookies

    def extract_cookies(self: Any, response: Any) -> None:
        if "set-cookie" in response.headers or "set-cookie2" in response.headers:
            extract(self, response)

    Cookies.extract_cookies = extract_cookies  # type: ignore[method-assign]
