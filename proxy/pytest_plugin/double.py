"""`LlmDouble`: what the fixture gives to a test. One virtual key, and so one scope of the double, for one test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from proxy.pytest_plugin.rules import fault_rule, reply_rule
from proxy.simulator.client import Calls, DoubleClient


class Placed:
    """A rule that is in the script. In a `with`, it is taken away at the end."""

    def __init__(self, double: LlmDouble, id_: str, name: str) -> None:
        self.id = id_
        self.name = name
        self._double = double

    @property
    def used(self) -> int:
        """How many calls it has taken."""
        return self._double.uses().get(self.id, 0)

    @property
    def calls(self) -> Calls:
        """The calls it has taken."""
        return self._double.calls(rule=self.name)

    def remove(self) -> None:
        """Takes the rule away: an outage ends."""
        self._double.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.remove()


class LlmDouble:
    """The double as one test has it.

    `url` is the gateway's, `openai_base_url` what the OpenAI SDK wants; `key` is a virtual key of this test alone and
    `scope` the double's scope that belongs to it. `folder` is where `load` looks for files.
    """

    def __init__(self, client: DoubleClient, *, url: str, key: str, folders: list[Path]) -> None:
        self.url = url
        self.openai_base_url = f"{url}/v1"
        self.key = key
        self.scope: str = client.script["scope"]
        self._client = client
        self._folders = folders
        self._strict = False
        self._placed: dict[str, str] = {}
        self._removed: dict[str, int] = {}

    # -- the script ------------------------------------------------------------------------------------------

    def reply(self, text: str | None = None, /, **given: Any) -> Placed:
        """Answers requests with a text, or with `json=`, `tool_calls=`, `refusal=`, `finish_reason=`, `timing=`.

        Which requests: `model`, `provider`, `text`, `system`, `tool`, `tool_result`, `turn`, `stream`, `call`,
        `header`. How often and how long: `times`, `for_`, `after`, `probability`, `priority`.
        """
        return self.rules(reply_rule(text, given))[0]

    def fail(self, fault: int | str, /, **given: Any) -> Placed:
        """Fails requests with a status of the provider's own, or by `delay`, `hang`, `drop`, `cut`, `malformed`,
        `rate_limit`, with `retry_after`, `message`, `after_chunks`, `seconds`, `requests`, `per` as the kind has them.

        Which requests, how often and how long: as with `reply`. Faults come before replies.
        """
        return self.rules(fault_rule(fault, given))[0]

    def outage(self, provider: str, fault: int | str = 503, /, **given: Any) -> Placed:
        """Fails all that a provider (openai, anthropic, google) is asked, `for_` so long or until it is removed."""
        name = given.pop("name", f"outage of {provider}")
        return self.fail(fault, provider=provider, name=name, **given)

    def rules(self, *rules: Mapping[str, Any]) -> list[Placed]:
        """Adds rules as the script language has them, after those that are there."""
        ids = self._client.add_rules(*map(dict, rules))
        placed = [
            Placed(self, id_, str(rule.get("name") or f"#{id_}")) for id_, rule in zip(ids, rules, strict=True)
        ]
        self._placed.update({rule.id: rule.name for rule in placed})
        return placed

    def load(self, path: str | Path) -> None:
        """Adds the rules of a script file, and takes over `strict: true`.

        It is looked for beside the test, then where the tests' configuration is. Such rules are shared by tests, so
        none of them has to be used.
        """
        script = load_script(self._found(Path(path)))
        given = script.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if script.rules:
            self._client.add_rules(*given["rules"])
        if script.strict:
            self.strict()

    def strict(self, on: bool = True) -> None:
        """A request that no rule takes gets an error that names the nearest rule, and fails the test at its end; so
        does a rule of the test's own that was never used."""
        self._client.set_strict(on)
        self._strict = on

    def remove(self, rule: Placed) -> None:
        """Takes a rule away, at once for the next request."""
        self._removed[rule.id] = rule.used
        self._client.remove(rule.id)

    def uses(self) -> dict[str, int]:
        """Rule id -> how many calls it has taken, for the rules of this test."""
        shown = {rule["id"]: rule["used"] for rule in self._client.script["rules"]}
        return {**shown, **self._removed}

    def _found(self, path: Path) -> Path:
        candidates = [folder / path for folder in self._folders]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        if found is None:
            looked = ", ".join(str(candidate) for candidate in candidates)
            raise FileNotFoundError(f"no script {str(path)!r}; looked for {looked}")
        return found

    # -- what was asked --------------------------------------------------------------------------------------

    @property
    def calls(self) -> Calls:
        """What was sent upstream so far, in its order; `calls(model="gpt-4o")` are some of them."""
        return self._client.calls()

    def unused(self) -> list[str]:
        """The test's own rules that have taken no call, by name."""
        uses = self.uses()
        return [name for id_, name in self._placed.items() if not uses.get(id_)]

    def complaints(self) -> list[str]:
        """What strictness finds fault with; nothing where the test is not strict."""
        if not self._strict:
            return []
        found = [f"no rule took this call: {call.summary}" for call in self.calls if call.outcome == "no match"]
        return found + [f"{name} was never used" for name in self.unused()]
