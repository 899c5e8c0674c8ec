"""Python's side of the control calls: scripts and the journal of one scope, on a gateway in double mode or on the
simulator itself. What the pytest plugin, the command line and tests talk to the double through.

    double = DoubleClient("http://127.0.0.1:4000", key)
    double.add_rules({"when": {"text": "weather"}, "reply": "Sunny."})
    ...
    assert double.calls(model="gpt-4o").last.text == "How is the weather?"
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import httpx

MOST_WAIT = 60.0
"""Seconds that one control call may wait; longer waits are several."""
QUOTED = 50
"""Characters of a text in a call's repr."""


class DoubleError(Exception):
    """The double did not do what it was asked. `problems` are the mistakes in a script: path, message, line."""

    def __init__(self, status: int, message: str, problems: Sequence[Mapping[str, Any]] = ()) -> None:
        self.status = status
        self.problems = tuple(problems)
        more = "".join(f"\n  {_problem(one)}" for one in problems) if len(problems) > 1 else ""
        super().__init__(message + more)


class Call:
    """One request that an upstream was sent, and its answer; the fields are the journal's."""

    seq: int
    scope: str
    request_id: str | None
    attempt: int
    provider: str
    api: str
    model: str | None
    alias: str | None
    stream: bool
    rule: str | None
    outcome: str | None
    status: int | None
    started_at: float
    first_byte_at: float | None
    ended_at: float | None
    request: Any
    headers: dict[str, str]
    response: dict[str, Any] | None

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.entry = dict(entry)
        self.__dict__.update(entry)

    @property
    def text(self) -> str:
        """The last text of the user's."""
        return last_user_text(self.request)

    @property
    def answer(self) -> Any:
        """The body of the answer: JSON, or a stream's text; None where none was sent."""
        return self.response["body"] if self.response else None

    def __repr__(self) -> str:
        model = f"{self.alias} = {self.model}" if self.alias and self.alias != self.model else str(self.model)
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        took = f" by {self.rule!r}" if self.rule else ""
        text = " ".join(self.text.split())
        quoted = text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"
        said = self.outcome or "running"
        return f"<{self.seq}: {self.provider} {model}{again} {quoted!r} -> {self.status or 'nothing'}, {said}{took}>"


class Calls(Sequence[Call]):
    """Calls in the order in which they began, as they were when asked for; `wait_for` asks again."""

    def __init__(
        self, entries: Sequence[Mapping[str, Any]], again: Callable[[int, float], Sequence[Mapping[str, Any]]]
    ) -> None:
        self._calls = [Call(entry) for entry in entries]
        self._again = again

    @property
    def first(self) -> Call:
        return self._at(0)

    @property
    def last(self) -> Call:
        return self._at(-1)

    @property
    def models(self) -> list[str | None]:
        """Whom they went to, in order: the gateway's name for each model, else the upstream's."""
        return [call.alias or call.model for call in self._calls]

    @property
    def statuses(self) -> list[int | None]:
        return [call.status for call in self._calls]

    def wait_for(self, number: int, timeout: float = 10.0) -> Calls:
        """These calls as soon as `number` of them have ended. Raises AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            found = Calls(self._again(number, min(left, MOST_WAIT)), self._again)
            ended = sum(call.ended_at is not None for call in found)
            if ended >= number:
                return found
            if time.monotonic() >= deadline:
                raise AssertionError(f"{ended} of {number} calls had ended after {timeout:g} s: {found!r}")

    def _at(self, index: int) -> Call:
        if not self._calls:
            raise AssertionError("there was no such call")
        return self._calls[index]

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | Sequence[Call]:
        return self._calls[index]

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        if not self._calls:
            return "<no calls>"
        return "<calls:\n  " + "\n  ".join(map(repr, self._calls)) + "\n>"


class DoubleClient:
    """The double as one scope sees it.

    `url` is a gateway's or a simulator's; `key` the master key, a virtual key or the control key; `scope` None the one
    that goes with the key. A context manager; or `close` it.
    """

    def __init__(self, url: str, key: str | None, scope: str | None = None, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self.scope = scope
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        if scope is not None:
            headers["x-double-scope"] = scope
        self._timeout = timeout
        self._http = httpx.Client(base_url=f"{self.url}/_double", headers=headers, timeout=timeout, trust_env=False)

    # -- the script --------------------------------------------------------------------------------------

    @property
    def script(self) -> dict[str, Any]:
        """The script in force, with where each rule stands."""
        return self._shown(self._call("GET", "/script"))

    def set_script(self, script: Mapping[str, Any] | str) -> dict[str, Any]:
        """Puts a whole script, as data or as YAML text. Raises DoubleError where it is none."""
        if isinstance(script, str):
            yaml = {"content-type": "application/yaml"}
            return self._shown(self._call("PUT", "/script", content=script.encode(), headers=yaml))
        return self._shown(self._call("PUT", "/script", json=dict(script)))

    def add_rules(self, *rules: Mapping[str, Any], first: bool = False) -> list[int]:
        """Adds rules after those there are, or before them; their ids."""
        query = {"first": "true"} if first else {}
        ids: list[int] = self._call("POST", "/rules", params=query, json={"rules": [dict(rule) for rule in rules]})[
            "ids"
        ]
        return ids

    def remove(self, rule: int) -> dict[str, Any]:
        """Takes a rule out, by its id."""
        return self._shown(self._call("DELETE", f"/rules/{rule}"))

    def clear(self) -> dict[str, Any]:
        """Back to no rules, not strict."""
        return self._shown(self._call("DELETE", "/script"))

    # -- the journal -------------------------------------------------------------------------------------

    def calls(
        self,
        model: str | None = None,
        provider: str | None = None,
        text: str | None = None,
        request: str | None = None,
        since: int | None = None,
    ) -> Calls:
        """What upstreams were sent: by model (alias or upstream; * and ? are wildcards), provider, a text in the
        messages, the gateway's request id, or after the call numbered `since`."""
        asked = {"model": model, "provider": provider, "text": text, "request": request, "since": since}
        query = {name: value for name, value in asked.items() if value is not None}

        def again(number: int, seconds: float) -> list[dict[str, Any]]:
            waiting = {**query, "wait_for": number, "timeout": seconds}
            return self._entries(self._call("GET", "/journal", params=waiting, timeout=self._timeout + seconds))

        return Calls(self._entries(self._call("GET", "/journal", params=query)), again)

    def follow(self, since: int | None = None) -> Iterator[Call]:
        """Each call as it ends, for as long as it is asked; with `since`, first those after that number."""
        query = {} if since is None else {"since": since}
        kind = ""
        try:
            with self._http.stream("GET", "/events", params=query, timeout=None) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._refusal(answer)
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        kind = line[7:]
                    elif line.startswith("data: ") and kind == "ended":
                        yield Call(json.loads(line[6:])["entry"])
        except httpx.HTTPError as error:
            raise DoubleError(0, f"{self.url}: the events broke off ({type(error).__name__} {error})") from None

    def clear_calls(self) -> None:
        """Forgets the calls so far."""
        self._call("DELETE", "/journal")

    def forget(self) -> None:
        """Forgets script, counters, calls and cassette."""
        scope = self.scope or self.script["scope"]
        self._call("DELETE", f"/scopes/{scope}")

    def scopes(self) -> list[dict[str, Any]]:
        """All scopes there are."""
        found: list[dict[str, Any]] = self._call("GET", "/scopes")["scopes"]
        return found

    # -- the wire ----------------------------------------------------------------------------------------

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> DoubleClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DoubleClient {self.url}, scope {self.scope or 'of its key'}>"

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise DoubleError(0, f"{method} {self.url}/_double{path}: {type(error).__name__} {error}") from None
        if answer.is_success:
            return answer.json()
        raise self._refusal(answer)

    @staticmethod
    def _refusal(answer: httpx.Response) -> DoubleError:
        try:
            said = answer.json()["error"]
            message, problems = str(said["message"]), said.get("problems") or ()
        except (ValueError, KeyError, TypeError, AttributeError):
            message, problems = answer.text[:500], ()
        return DoubleError(answer.status_code, message, problems)

    @staticmethod
    def _shown(answer: Any) -> dict[str, Any]:
        shown: dict[str, Any] = answer
        return shown

    @staticmethod
    def _entries(answer: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = answer["entries"]
        return entries


def last_user_text(request: Any) -> str:
    """The last text of the user's in a request body, whichever provider's."""
    if not isinstance(request, Mapping):
        return ""
    if isinstance(request.get("input"), str):
        return str(request["input"])
    messages = request.get("messages") or request.get("contents") or request.get("input")
    for message in reversed(messages if isinstance(messages, list) else []):
        if not isinstance(message, Mapping) or message.get("role", "user") != "user":
            continue
        content = message.get("content") or message.get("parts")
        if isinstance(content, str):
            return content
        parts = content if isinstance(content, list) else []
        text = " ".join(
            part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        )
        if text:
            return text
    return ""


def _problem(problem: Mapping[str, Any]) -> str:
    line = f"line {problem['line']}: " if problem.get("line") else ""
    path = f"{problem['path']}: " if problem.get("path") else ""
    return f"{line}{path}{problem.get('message')}"
