"""Token counts for usage, limits and stream chunks; used by reply.py and the wire formats.

All three providers are counted with o200k_base, the encoding of OpenAI's current models: exact for OpenAI's
text, close for the other two, whose tokenizers are not public. tiktoken would download the vocabulary; the
litellm wheel carries a copy in tiktoken's own cache format, so that file is read (as data: nothing of
LiteLLM is imported) and tiktoken checks its hash.
"""

from __future__ import annotations

import codecs
import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import orjson
import tiktoken

from proxy.memory import give_back
from proxy.simulator.memory import remembering

VOCABULARY = "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"
"""o200k_base.tiktoken in tiktoken's cache: the name is the SHA-1 of the address it comes from."""

STRETCH = 50_000
"""Characters encoded at a time: bounds what a hostile run of one character can cost."""

Tokens = tuple[int, ...]


class VocabularyMissing(RuntimeError):
    """The tokenizer's vocabulary is not where the installed packages should have put it."""


@lru_cache(maxsize=1)
def encoding() -> tiktoken.Encoding:
    """o200k_base, loaded on the first call (about 0.3 s). Raises VocabularyMissing."""
    try:
        vocabulary = Path(str(distribution("litellm").locate_file(VOCABULARY)))
    except PackageNotFoundError:
        vocabulary = Path(VOCABULARY)
    if not vocabulary.is_file():
        raise VocabularyMissing(
            f"the tokenizer's vocabulary is missing ({VOCABULARY} of the litellm package); "
            "install the versions in requirements.lock"
        )
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(vocabulary.parent)
    try:
        found = tiktoken.get_encoding("o200k_base")
        found._mergeable_ranks = {}  # a third of its memory, kept for pickling alone
        give_back()  # what reading it took
        return found
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


def count(text: str) -> int:
    """How many tokens `text` is."""
    if len(text) <= STRETCH:
        return len(encode(text))
    return sum(count(text[at : at + STRETCH]) for at in range(0, len(text), STRETCH))


@remembering
def encode(text: str) -> Tokens:
    """The tokens of `text`."""
    return tuple(encoding().encode_ordinary(text))


def decode(tokens: Tokens) -> str:
    """The text of `tokens`, without a character of which a part is missing at the end."""
    return encoding().decode_bytes(tokens).decode("utf-8", "ignore")


@remembering
def parts(tokens: Tokens) -> tuple[str, ...]:
    """The text token by token. A character that spans tokens comes whole with its last one; the tokens before
    it are then empty strings."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    return tuple(decoder.decode(part) for part in encoding().decode_tokens_bytes(tokens))


@remembering
def quoted(tokens: Tokens) -> tuple[bytes, ...]:
    """The parts that are not empty, each as a JSON string."""
    return tuple(orjson.dumps(part) for part in parts(tokens) if part)
