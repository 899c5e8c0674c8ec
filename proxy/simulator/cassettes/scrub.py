"""What never gets into a cassette: keys, cookies, accounts, request ids.

Headers are kept by a list of those that are of use, so that one that nobody has thought of stays out. Bodies lose
every secret that was seen in a header or a query, and what is shaped like a key or an account.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlencode

SCRUBBED = "[scrubbed]"
SHORTEST_SECRET = 8  # characters; a shorter one is no provider's key, and would be found in every other word

SECRET_HEADERS = (
    b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"set-cookie",
    b"openai-organization", b"openai-project", b"anthropic-organization-id", b"x-goog-user-project",
)  # fmt: skip
"""Their values are looked for everywhere else."""

SECRET_QUERY = {"key", "api_key", "api-key", "access_token", "token", "sig", "signature"}

REQUEST_HEADERS = re.compile(r"content-type|anthropic-version|anthropic-beta|openai-beta")
RESPONSE_HEADERS = re.compile(
    r"content-type|content-encoding|retry-after|retry-after-ms|x-should-retry|openai-version|openai-processing-ms"
    r"|x-ratelimit-[a-z-]+|anthropic-ratelimit-[a-z-]+|server-timing"
)

# As the providers write them: OpenAI's and Anthropic's keys (in error messages partly starred), organisations and
# projects; Google's keys and access tokens. In JSON a letter before one may belong to an escaped line end.
_SHAPES = re.compile(
    rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))(?:sk-[A-Za-z0-9_*-]{16,}|org-[A-Za-z0-9]{16,}|proj_[A-Za-z0-9]{16,}"
    rb"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9._-]{20,})"
)


class Scrubber:
    """Knows the secrets seen so far; the longest are looked for first."""

    def __init__(self) -> None:
        self._needles: list[bytes] = []

    def see(self, headers: Iterable[tuple[bytes, bytes]], query: bytes = b"") -> None:
        """Takes note of the secrets in the headers and the query of a request, or the headers of an answer."""
        found: set[str] = set()
        for name, value in headers:
            name = name.lower()
            if name in (b"cookie", b"set-cookie"):  # of the latter, the rest is attributes
                parts = value.decode("latin-1").split(";")[: 1 if name == b"set-cookie" else 50]
                found |= {part.partition("=")[2].strip() for part in parts}
            elif name in SECRET_HEADERS:
                text = value.decode("latin-1").strip()
                found |= {text, text.rpartition(" ")[2]}
        found |= {value for name, value in parse_qsl(query.decode("latin-1")) if name.lower() in SECRET_QUERY}
        new = {form for secret in found if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        if not new.issubset(self._needles):
            self._needles = sorted(new | set(self._needles), key=lambda needle: (-len(needle), needle))

    def body(self, raw: bytes) -> bytes:
        for needle in self._needles:
            raw = raw.replace(needle, SCRUBBED.encode())
        return _SHAPES.sub(SCRUBBED.encode(), raw)

    def text(self, text: str) -> str:
        return self.body(text.encode()).decode()

    def path(self, path: str, query: bytes) -> str:
        """The path and the query, less the keys in it."""
        kept = [
            (name, self.text(value))
            for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
            if name.lower() not in SECRET_QUERY
        ]
        shown = quote(self.text(unquote(path)), safe="/:@!$&'()*+,;=-._~[]")
        return f"{shown}?{urlencode(kept, safe=':/,[]')}" if kept else shown

    def headers(self, headers: Iterable[tuple[bytes, bytes]], kept: re.Pattern[str]) -> dict[str, str]:
        """Those that are of use, by name."""
        shown = {}
        for raw_name, value in sorted(headers):
            name = raw_name.decode("latin-1").lower()
            if kept.fullmatch(name):
                shown[name] = self.text(value.decode("latin-1"))
        return shown


def _forms(secret: str) -> set[bytes]:
    """How a secret may be spelt: as it is, within JSON, within a URL."""
    inside = json.dumps(secret)[1:-1]
    return {form.encode() for form in (secret, inside, inside.replace("/", "\\/"), quote(secret, safe=""))}
