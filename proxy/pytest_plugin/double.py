"""`LlmDouble`: what the fixture gives to a test. One virtual key, and so one scope of the double, for one test."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import Self

from proxy.pytest_plugin.calls import TestCalls, answered_of, asked_of, count, name_of, short
from proxy.pytest_plugin.rules import fault_rule, reply_rule
from proxy.simulator.client import DoubleClient, DoubleError
from proxy.simulator.script.load import load_script

_HERE = str(Path(__file__).parent)
_STANDING = ("id", "used", "in_force", "left", "expires_in")  # what a shown rule has beside what was given


class Placed:
    """A rule that is in the script. In a `with`, it is taken away at the end."""

    def __init__(self, double: LlmDouble, id_: int, name: str | None, written: str, where: str) -> None:
        self.id = id_
        self.written = written
        self.where = where
        self.removed_after: int | None = None
        self._name = name
        self._double = double

    @property
    def name(self) -> str:
        """As the journal and messages of the double name it."""
        return self._name or f"#{self.id}"

    @property
    def used(self) -> int:
        """How many calls it has taken."""
        return self._double.uses()[self]

    @property
    def calls(self) -> TestCalls:
        """The calls it has taken."""
        return self._double.calls(rule=self.name)

    def remove(self) -> None:
        """Takes the rule away, at once for the next request: an outage ends."""
        self._double.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.removed_after is None:
            self.remove()

    def __repr__(self) -> str:
        return f"<{self.name}: {self.written}>"


class LlmDouble:
    """The double as one test has it.

    `url` is the gateway's, `openai_base_url` what an OpenAI client wants; `key` is a virtual key of this test alone
    and `scope` the double's scope that goes with it. `folders` are where `load` looks.
    """

    def __init__(self, client: DoubleClient, *, url: str, key: str, folders: list[Path]) -> None:
        self.url = url
        self.openai_base_url = f"{url}/v1"
        self.key = key
        self._client = client
        self.scope: str = client.set_script({"inherit": False})["scope"]
        self._folders = folders
        self._strict = False
        self._placed: list[Placed] = []
        self._story: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<llm_double at {self.url}, scope {self.scope}>"

    # -- the script ------------------------------------------------------------------------------------------

    def reply(self, text: str | None = None, /, **given: Any) -> Placed:
        """Answers requests with a text, or with `json=`, `tool_calls=`, `refusal=`, `finish_reason=`, `timing=`.

        Which requests: `model`, `provider`, `text`, `system`, `tool`, `tool_result`, `turn`, `stream`, `call`,
        `header`. How often and how long: `times`, `for_`, `after`, `flapping`, `probability`, `priority`.
        """
        return self._place([reply_rule(text, given)], [_written("reply", text, given)])[0]

    def fail(self, fault: int | str, /, **given: Any) -> Placed:
        """Fails requests with a status of the provider's own, or by `delay`, `hang`, `drop`, `cut`, `malformed`,
        `rate_limit`; `retry_after`, `message`, `after_chunks`, `seconds`, `requests`, `per` say more, as the kind has
        them.

        Which requests, how often and how long: as with `reply`. Faults come before replies.
        """
        return self._place([fault_rule(fault, given)], [_written("fail", fault, given)])[0]

    def outage(self, provider: str, fault: int | str = 503, /, **given: Any) -> Placed:
        """Fails all that a provider (openai, anthropic, google) is asked, `for_` so long or until it is removed."""
        rule = fault_rule(fault, {"name": f"outage of {provider}", **given, "provider": provider})
        return self._place([rule], [_written("outage", provider, given)])[0]

    def rules(self, *rules: Mapping[str, Any]) -> list[Placed]:
        """Adds rules as the script language has them, after those there are."""
        return self._place([dict(rule) for rule in rules], [short(repr(dict(rule)), 100) for rule in rules])

    def load(self, path: str | Path) -> None:
        """Adds the rules of a script file, and takes over its `strict: true`.

        It is looked for beside the test, then at the root of the tests. Such rules are shared by tests: a test need
        not use them all.
        """
        script = load_script(self._found(Path(path)))
        given = script.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if script.strict:
            self.strict()
        if script.rules:
            self._client.add_rules(*given["rules"])

    def strict(self, on: bool = True) -> None:
        """A request that no rule takes gets an error that names the nearest rule, and fails the test when it is over;
        so does a rule of the test's own that was never used. To be said before the first request."""
        shown = self._client.script["rules"]
        if any(rule["used"] for rule in shown):
            raise RuntimeError("strict() comes too late: rules were used already. Say it first, or use the marker")
        rules = [{name: value for name, value in rule.items() if name not in _STANDING} for rule in shown]
        put = self._client.set_script({"strict": on, "inherit": False, "rules": rules})["rules"]
        new = {before["id"]: after["id"] for before, after in zip(shown, put, strict=True)}
        for placed in self._placed:
            placed.id = new.get(placed.id, placed.id)
        self._strict = on

    def remove(self, rule: Placed) -> None:
        """Takes a rule away, at once for the next request."""
        used = rule.used
        self._client.remove(rule.id)
        rule.removed_after = used

    def uses(self) -> dict[Placed, int]:
        """How many calls each of the test's own rules has taken."""
        used = {rule["id"]: rule["used"] for rule in self._client.script["rules"]}
        return {
            placed: used.get(placed.id, 0) if placed.removed_after is None else placed.removed_after
            for placed in self._placed
        }

    def _place(self, rules: list[dict[str, Any]], written: list[str]) -> list[Placed]:
        ids = self._client.add_rules(*rules) if rules else []
        where = _where()
        placed = [
            Placed(self, id_, rule.get("name"), how, where) for id_, rule, how in zip(ids, rules, written, strict=True)
        ]
        self._placed += placed
        return placed

    def _found(self, path: Path) -> Path:
        candidates = list(dict.fromkeys(folder / path for folder in self._folders))
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        if found is None:
            looked = "\n  ".join(str(candidate) for candidate in candidates)
            raise FileNotFoundError(f"no script {str(path)!r}; looked for\n  {looked}")
        return found

    # -- what was asked --------------------------------------------------------------------------------------

    @property
    def calls(self) -> TestCalls:
        """What was sent upstream so far, in its order; `calls(model="gpt-4o")` are some of them."""

        def again(number: int, seconds: float) -> list[dict[str, Any]]:
            asked = self._client.calls()
            try:
                asked = asked.wait_for(number, seconds)
            except AssertionError:
                asked = self._client.calls()
            return [call.entry for call in asked]

        return TestCalls([call.entry for call in self._client.calls()], again)

    # -- for the plugin --------------------------------------------------------------------------------------

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """What points the SDKs at the double, past any proxy."""
        past = {
            name: ",".join(filter(None, [before.get(name, ""), urlsplit(self.url).hostname or ""]))
            for name in ("NO_PROXY", "no_proxy")
        }
        return {
            "OPENAI_BASE_URL": self.openai_base_url,
            "OPENAI_API_KEY": self.key,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": self.key,
            "GOOGLE_GEMINI_BASE_URL": self.url,
            "GEMINI_API_KEY": self.key,
            # Google's SDK prefers it where it is set.
            **({"GOOGLE_API_KEY": self.key} if "GOOGLE_API_KEY" in before else {}),
            **past,
        }

    def complaint(self) -> str:
        """What strictness finds fault with; empty where it does not, or the test is not strict."""
        if not self._strict:
            return ""
        untaken, unused = self.calls(outcome="no match"), self.unused()
        counts = [
            *([f"{count(len(untaken), 'call')} that no rule took"] if untaken else []),
            *(
                [f"{count(len(unused), 'rule')} that {'was' if len(unused) == 1 else 'were'} never used"]
                if unused
                else []
            ),
        ]
        lines = [f"no rule took a call: {name_of(one)} {asked_of(one)}\n    {answered_of(one)}" for one in untaken]
        lines += [f"never used: {rule}" for rule in unused]
        return "\n  ".join([f"llm_double is strict: {' and '.join(counts)}", *lines]) if counts else ""

    def unused(self) -> list[str]:
        """The test's own rules that took no call."""
        return [f"{placed.written} ({placed.where})" for placed, used in self.uses().items() if not used]

    def story(self, *, calls: bool = True) -> str:
        """The script and the calls, for whoever reads why the test failed."""
        if self._story is None:
            try:
                self._story = (self._told_script(), self.calls.journal())
            except DoubleError as error:
                return f"the double does not answer: {error}"
        return "\n".join(self._story if calls else self._story[:1])

    def close(self) -> None:
        """Forgets the scope; the story stays."""
        self.story()
        self._client.forget()

    def _told_script(self) -> str:
        shown = {rule["id"]: rule for rule in self._client.script["rules"]}
        own = {placed.id: placed for placed in self._placed}
        lines = []
        for id_ in sorted({*shown, *own}):
            placed = own.get(id_)
            rule = shown.get(id_)
            used = rule["used"] if rule else placed.removed_after if placed else 0
            times = f"used {used}×" if used else "never used"
            what = placed.written if placed else "from a file"
            name = (placed.name if placed else None) or (rule or {}).get("name") or f"#{id_}"
            where = f" ({placed.where})" if placed else ""
            lines.append(f"  {name}  {what}{where}: {times}{'' if rule else ', removed'}")
        mode = "strict" if self._strict else "not strict"
        return "\n".join([f"the script, {mode}:", *lines]) if lines else f"the script, {mode}, has no rules"


def _written(method: str, first: Any, given: Mapping[str, Any]) -> str:
    """The call as the test has it."""
    arguments = [] if first is None else [short(repr(first), 40)]
    arguments += [f"{name}={short(repr(value), 60)}" for name, value in given.items()]
    return f"{method}({', '.join(arguments)})"


def _where() -> str:
    """The line of the test that is being executed: the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
