"""The assistant itself, on the openai SDK: a tool loop, streaming, structured output."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openai
from pydantic import BaseModel

from travel import tools

MODEL = "gpt-5-mini"
ROUNDS = 4
AT_ONCE = {"x-litellm-num-retries": "0"}
"""A customer is waiting: the gateway shall go on to the next model at once rather than try the same one again."""
SYSTEM = "You are a travel assistant. Use the tools for facts."


class Unavailable(Exception):
    """No model can answer now. The message is for the customer."""


class Interrupted(Exception):
    """A streamed answer broke off; `partial` is what had come."""

    def __init__(self, partial: str) -> None:
        super().__init__("the answer broke off")
        self.partial = partial


class Refused(Exception):
    """The model declines; the message is its own."""


@dataclass
class Answer:
    """`stand_in`: another provider's model than the one we asked for has answered."""

    text: str
    tools_used: list[str]
    stand_in: bool


class Stop(BaseModel):
    city: str
    nights: int


class Itinerary(BaseModel):
    title: str
    stops: list[Stop]


class Assistant:
    """`patience`: how often the SDK tries again on 429 and 5xx, waiting as `Retry-After` says."""

    def __init__(self, model: str = MODEL, *, patience: int = 2) -> None:
        self.model = model
        self._settings: dict[str, Any] = {"max_retries": patience, "default_headers": AT_ONCE}

    def ask(self, question: str) -> Answer:
        """Answers with the help of the tools. Raises Unavailable."""
        messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        used: list[str] = []
        client = openai.OpenAI(**self._settings)
        for _ in range(ROUNDS):
            try:
                completion = client.chat.completions.create(model=self.model, messages=messages, tools=tools.DESCRIBED)
            except (openai.APIStatusError, openai.APIConnectionError) as error:
                raise Unavailable("We cannot answer right now. Please try again in a minute.") from error
            message = completion.choices[0].message
            if not message.tool_calls:
                return Answer(message.content or "", used, stand_in=self._is_stand_in(completion.model))
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                used.append(call.function.name)
                result = tools.run(call.function.name, call.function.arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        raise Unavailable("We could not work that out. Please ask in another way.")

    def stream(self, question: str) -> Iterator[str]:
        """The answer piece by piece. Raises Interrupted with what had come."""
        partial = ""
        try:
            with openai.OpenAI(**self._settings).chat.completions.create(
                model=self.model,
                messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
                stream=True,
            ) as pieces:
                for piece in pieces:
                    if piece.choices and (text := piece.choices[0].delta.content):
                        partial += text
                        yield text
        except openai.APIError as error:
            raise Interrupted(partial) from error

    def plan(self, wish: str) -> Itinerary:
        """An itinerary. Raises Refused."""
        completion = openai.OpenAI(**self._settings).chat.completions.parse(
            model=self.model,
            messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": wish}],
            response_format=Itinerary,
        )
        message = completion.choices[0].message
        if message.parsed is None:
            raise Refused(message.refusal or "")
        return message.parsed

    async def compare(self, cities: list[str]) -> dict[str, str]:
        """A sentence on each city, asked for at the same time."""
        async with openai.AsyncOpenAI(**self._settings) as client:

            async def describe(city: str) -> str:
                completion = await client.chat.completions.create(
                    model=self.model, messages=[{"role": "user", "content": f"One sentence on {city}, please."}]
                )
                return completion.choices[0].message.content or ""

            sentences = await asyncio.gather(*map(describe, cities))
        return dict(zip(cities, sentences, strict=True))

    def _is_stand_in(self, answered: str) -> bool:
        return self.model.split("-")[0] not in answered
