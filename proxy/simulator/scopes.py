"""Scopes: what separates one test, or one user, from another. Each has a script with counters, and its own calls in
the journal. A request names its scope in a header; one that names none is of the scope `default`, whose rules the
others inherit unless their script says otherwise.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from proxy.simulator.cassettes.replay import Player
from proxy.simulator.journal import Journal
from proxy.simulator.script.asked import Asked
from proxy.simulator.script.book import Book

DEFAULT = "default"
PROBES = "probes"
"""The scope of the gateway's own health probes. It inherits no cassette: nobody records them."""
SCOPE_HEADER = b"x-double-scope"
REQUEST_HEADER = b"x-double-request"
PROBE_HEADER = b"x-double-probe"
"""Names the scope whose rules a request is to meet without a trace there: no rule is used up, and the journal has it in
the scope it came in. So the gateway's breaker asks whether a model is back."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")

MOST_SCOPES = 10_000
"""Beyond it, the oldest that has neither script nor cassette is forgotten."""


class BadScope(ValueError):
    """A name that no scope can have."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"x-double-scope: {name[:120]!r} is no name for a scope; it has up to 100 letters, digits and . _ - in it"
        )


class Scope:
    """`base` is the scope `default`, None for that one itself. `cassette` is its own; `player` the one in force."""

    def __init__(self, name: str, book: Book, base: Scope | None = None) -> None:
        self.name = name
        self.book = book
        self.cassette: Player | None = None
        self.calls = 0
        self._base = base if name != PROBES else None
        self._inherited: tuple[Player, Player] | None = None

    @property
    def is_bare(self) -> bool:
        """Whether every request is answered as if there were no scripts."""
        return self.cassette is None and self.book.is_bare and (self._base is None or self._base.cassette is None)

    @property
    def player(self) -> Player | None:
        """What answers where no rule does: the scope's own cassette, else that of `default`, played by itself here."""
        base = self._base.cassette if self._base is not None and self.book.inherit else None
        if self.cassette is not None or base is None:
            return self.cassette
        if self._inherited is None or self._inherited[0] is not base:
            self._inherited = (base, base.afresh())
        return self._inherited[1]

    def unmatched(self, asked: Asked) -> str:
        """What a strict scope says to a request that no rule took."""
        return f"no rule of scope '{self.name}' takes this request; {self.book.nearest(asked)}"


class Scopes:
    """All scopes. `aliases`: provider and upstream model -> the gateway's names for it."""

    def __init__(
        self,
        journal: Journal,
        aliases: Mapping[tuple[str, str], tuple[str, ...]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.journal = journal
        self.aliases = aliases or {}
        self._clock = clock
        self._numbers = itertools.count(1)
        self._scopes: dict[str, Scope] = {}
        self.default = self._scopes[DEFAULT] = Scope(DEFAULT, Book(None, clock, self._numbers))

    def named(self, name: str) -> Scope:
        """The scope of that name, made when it is first asked for. Raises BadScope."""
        scope = self._scopes.get(name)
        if scope is None:
            if not NAME.fullmatch(name):
                raise BadScope(name)
            scope = self._scopes[name] = self._new(name)
            if len(self._scopes) > MOST_SCOPES:
                self._make_room()
        return scope

    def seen(self, name: str) -> Scope:
        """As `named`, but one that does not exist is not kept. Raises BadScope."""
        if name in self._scopes:
            return self._scopes[name]
        if not NAME.fullmatch(name):
            raise BadScope(name)
        return self._new(name)

    def forget(self, name: str) -> None:
        """Forgets script, counters, calls and cassette of a scope."""
        if name == DEFAULT:
            self.default.book.clear()
            self.default.cassette = None
            self.default.calls = 0
        else:
            self._scopes.pop(name, None)
        self.journal.clear(name)
        self.journal.script_changed(name)

    def shown(self) -> list[dict[str, Any]]:
        return [
            {
                "name": scope.name,
                "rules": len(scope.book),
                "strict": scope.book.strict,
                "calls": scope.calls,
                "cassette": scope.cassette is not None,
            }
            for scope in self._scopes.values()
        ]

    def _new(self, name: str) -> Scope:
        return Scope(name, Book(self.default.book, self._clock, self._numbers), self.default)

    def _make_room(self) -> None:
        for name, scope in self._scopes.items():
            if name != DEFAULT and scope.cassette is None and scope.book.is_untouched:
                del self._scopes[name]
                return
