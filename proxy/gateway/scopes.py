"""Which scope of the providers' double a request belongs to, and how that is told upstream. Double mode only.

Each scope has a script, counters and a journal of its own, so that tests can share one stack. Pure functions; the
names on the wire are the simulator's. Used by double.py, and by app.py for the headers of upstream requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.gateway.errors import Refusal

SCOPE_HEADER = "x-double-scope"
REQUEST_HEADER = "x-double-request"
PROBE_HEADER = "x-double-probe"
DEFAULT = "default"
ALL = "*"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_TOKEN_DIGITS = 16
_SHOWN = 120  # of a name that is none


def is_control(path: str) -> bool:
    """Whether a request is about the double, not to a model."""
    return path == "/_double" or path.startswith("/_double/")


def own_scope(token: str | None) -> str:
    """The scope of a virtual key, by the SHA-256 under which LiteLLM keeps it; None: of the master key."""
    return DEFAULT if token is None else f"key-{token[:_TOKEN_DIGITS]}"


def named_scope(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The scope a request names itself; None where it names none. Raises Refusal (400) for what is no name."""
    for name, value in headers:
        if name == SCOPE_HEADER.encode():
            return checked(value.decode("latin-1"))
    return None


def checked(name: str) -> str:
    """`name`, or Refusal (400) where no scope can be called that."""
    if not _NAME.fullmatch(name):
        raise Refusal(
            400,
            f"{SCOPE_HEADER}: must be 1 to 100 letters, digits, dots, dashes or underscores, not {name[:_SHOWN]!r}",
            param=SCOPE_HEADER,
            code="invalid_value",
        )
    return name


def upstream_headers(token: str | None, named: str | None, call_id: str | None) -> dict[str, str]:
    """What every upstream request made for a client's request carries."""
    headers = {SCOPE_HEADER: named or own_scope(token)}
    if call_id:
        headers[REQUEST_HEADER] = call_id
    return headers


def controlled_scope(token: str | None, asked: str | None, named: str | None) -> str:
    """The scope a control call is about: `asked` is in the query, `named` in the header; ALL only as the former.

    The master key reaches every scope, a virtual key its own and the one it names by the header: scopes keep tests
    apart, and a test that strays into another's is a mistake to be told, not an attack to be fended off. Raises
    Refusal, 403 or 400.
    """
    if token is None:
        wanted = asked or named or DEFAULT
        return wanted if wanted == ALL else checked(wanted)
    own = own_scope(token)
    wanted = asked or named or own
    if wanted not in (own, named):
        raise Refusal(
            403,
            f"this key's scope is '{own}', not '{wanted[:_SHOWN]}'; another one is named by the header {SCOPE_HEADER}, "
            "and all of them are the master key's to see",
            type="permission_error",
        )
    return wanted
