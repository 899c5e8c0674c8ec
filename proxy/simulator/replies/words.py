"""The simulator's own words, where no script gives others; for reply.py. They follow from the request alone."""

from __future__ import annotations

from hashlib import blake2b

QUOTED = 120
"""Characters of a user's text or a tool's result that a reply quotes."""

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


def answer(model: str, asked: str, results: tuple[str, ...], key: bytes, index: int) -> str:
    """The answer to `asked`, the `index`-th of several to one request; it quotes the tools' `results`."""
    quoted = quote(asked)
    opening = f'Simulated reply from {model} to "{quoted}".' if quoted else f"Simulated reply from {model}."
    seed = blake2b(key, digest_size=3, salt=index.to_bytes(4, "big")).digest()
    picked = dict.fromkeys(SENTENCES[byte % len(SENTENCES)] for byte in seed)
    if not results:
        return " ".join([opening, *picked])
    told = " and ".join(f'"{quote(result)}"' for result in results)
    return " ".join(
        [opening, f"The tools' results are {told}." if len(results) > 1 else f"The tool's result is {told}."]
    )


def thought(asked: str) -> str:
    """What a model with thinking switched on thinks before it answers `asked`."""
    quoted = quote(asked)
    subject = f'The user says "{quoted}".' if quoted else "The user says nothing in words."
    return f"{subject} No model is asked, so the reply follows from the request."


def quote(text: str) -> str:
    quoted = " ".join(text[: 4 * QUOTED].split())
    return quoted if len(quoted) <= QUOTED else quoted[: QUOTED - 1] + "…"
