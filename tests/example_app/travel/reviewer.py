"""A second opinion on an itinerary, on the anthropic SDK."""

from __future__ import annotations

import anthropic

from travel.assistant import AT_ONCE, Itinerary

MODEL = "claude-sonnet-4"


async def review(itinerary: Itinerary) -> str:
    """What Claude says of it, streamed and put together."""
    stops = ", ".join(f"{stop.nights} nights in {stop.city}" for stop in itinerary.stops)
    async with (
        anthropic.AsyncAnthropic(max_retries=0, default_headers=AT_ONCE) as client,
        client.messages.stream(
            model=MODEL,
            max_tokens=200,
            system="You review itineraries in one sentence.",
            messages=[{"role": "user", "content": f"{itinerary.title}: {stops}"}],
        ) as stream,
    ):
        return await stream.get_final_text()
