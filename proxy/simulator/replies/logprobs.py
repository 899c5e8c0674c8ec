"""How likely each token of a reply was, as a model would tell: made up from the request, always the same.

Used by the wire formats where a client asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from proxy.simulator.replies import tokens

RIVALS = (
    " the", " a", ",", ".", " and", " of", " to", " in", " is", " that", " it", " for", " on", " with", " as", " be",
    " this", " are", " an", " by", " at", " or", " from", " The", " I", " you", " not", " we", "\n", " so",
)  # fmt: skip
"""What could have stood instead of a token; each is one token itself."""

LEAST, SPAN = 0.55, 0.44
"""The probability of a token that was chosen is of this much at least, and up to so much more."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its probability's natural logarithm; `alternatives` begin with itself, the likeliest first."""

    id: int
    raw: bytes
    logprob: float
    alternatives: tuple[TokenLogprob, ...] = ()

    @property
    def text(self) -> str:
        """The token's text; of one that is part of a character, as OpenAI writes it: bytes:\\xf0\\x9f."""
        try:
            return self.raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.raw)


def logprobs(key: bytes, index: int, encoded: tokens.Tokens, top: int) -> list[TokenLogprob]:
    """What is told of each of `encoded`, the tokens of the `index`-th choice, with `top` alternatives."""
    seed = blake2b(key, digest_size=16, salt=index.to_bytes(4, "big")).digest()
    raws = tokens.encoding().decode_tokens_bytes(encoded)
    return [_one(seed, at, token, raw, top) for at, (token, raw) in enumerate(zip(encoded, raws, strict=True))]


def _one(seed: bytes, at: int, token: int, raw: bytes, top: int) -> TokenLogprob:
    drawn = blake2b(token.to_bytes(4, "big"), digest_size=4, key=seed, salt=at.to_bytes(8, "big")).digest()
    probability = LEAST + SPAN * drawn[0] / 255
    chosen = TokenLogprob(token, raw, _log(probability))
    if not top:
        return chosen
    rivals = _rivals()
    others = [rivals[(drawn[1] + step) % len(rivals)] for step in range(top)]
    alternatives, left = [chosen], 1 - probability
    for rival, rival_raw in [pair for pair in others if pair[0] != token][: top - 1]:
        share = left * (0.5 + 0.3 * drawn[2] / 255)
        left -= share
        alternatives.append(TokenLogprob(rival, rival_raw, _log(share)))
    return TokenLogprob(token, raw, chosen.logprob, tuple(alternatives))


def _log(probability: float) -> float:
    return round(math.log(probability), 8)


@lru_cache(maxsize=1)
def _rivals() -> list[tuple[int, bytes]]:
    return [(tokens.encode(text)[0], text.encode()) for text in RIVALS]
