"""What `llm_double` does for a test that passes."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.conftest import Stack
from tests.pytest_plugin.conftest import Run


def test_replies_and_calls(run: Run) -> None:
    run("""
        from app import ask

        def test_it(llm_double):
            llm_double.reply("Sunny.", text="weather")
            llm_double.reply("Sea bass.", text={"matches": "eat|drink"})
            assert ask("What shall I eat?") == "Sea bass."
            assert ask("How is the weather?") == "Sunny."
            assert ask("Anything else?")  # the double's own answer
            calls = llm_double.calls
            assert len(calls) == 3
            assert calls.models == ["gpt-4o-mini"] * 3
            assert calls.last.request["messages"][-1]["content"] == "Anything else?"
            assert [call.text for call in calls(text="weather")] == ["How is the weather?"]
            assert (calls[0].provider, calls[0].status, calls[0].outcome, calls[0].attempt) == ("openai", 200, "ok", 1)
            calls(model="gpt-4o").assert_none()
    """).assert_outcomes(passed=1)


def test_each_test_has_a_key_and_a_scope_of_its_own_and_both_are_gone_afterwards(
    run: Run, project: pytest.Pytester, stack: Stack, control: httpx.Client
) -> None:
    run("""
        import json, os, pathlib
        from app import ask

        def note(double):
            with open("seen", "a") as file:
                file.write(json.dumps([double.key, double.scope]) + "\\n")

        def test_one(llm_double):
            note(llm_double)
            llm_double.reply("One.")
            assert ask("Who?") == "One."

        def test_two(llm_double):
            note(llm_double)
            assert ask("Who?") != "One."
            llm_double.calls.assert_count(1)
    """).assert_outcomes(passed=2)
    (one, scope_one), (two, scope_two) = map(json.loads, (project.path / "seen").read_text().splitlines())
    assert len({one, two, stack.master_key}) == 3
    assert len({scope_one, scope_two, "default"}) == 3
    names = [scope["name"] for scope in control.get("/_double/scopes").json()["scopes"]]
    assert "default" in names
    assert scope_one not in names
    assert control.get("/_double/journal", params={"scope": scope_one}).json()["entries"] == []
    for key in (one, two):
        answer = httpx.get(
            f"{stack.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )
        assert answer.status_code == 401


def test_the_rules_of_the_default_scope_are_not_inherited(run: Run, control: httpx.Client) -> None:
    marker = "only-asked-by-this-test"
    rule = {"when": {"text": marker}, "reply": "from the default scope"}
    (number,) = control.post("/_double/rules", json=rule).json()["ids"]
    try:
        run(f"""
            from app import ask

            def test_it(llm_double):
                assert ask("{marker}") != "from the default scope"
        """).assert_outcomes(passed=1)
    finally:
        control.delete(f"/_double/rules/{number}").raise_for_status()


def test_the_environment_points_the_sdks_at_it_and_is_as_before_afterwards(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "a-real-one-that-google-must-not-see")
    run("""
        import os, anthropic, openai, pytest
        from google import genai

        BEFORE = dict(os.environ)

        def test_it(llm_double):
            assert str(openai.OpenAI().base_url) == llm_double.openai_base_url + "/" == llm_double.url + "/v1/"
            assert openai.OpenAI().api_key == anthropic.Anthropic().api_key == llm_double.key
            assert "127.0.0.1" in os.environ["NO_PROXY"].split(",")

            messages = [{"role": "user", "content": "Who?"}]
            for provider in ("openai", "anthropic", "google"):
                llm_double.reply(provider, provider=provider)
            chat = openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=messages)
            assert chat.choices[0].message.content == "openai"
            message = anthropic.Anthropic().messages.create(model="claude-sonnet-4", max_tokens=9, messages=messages)
            assert message.content[0].text == "anthropic"
            google = genai.Client()
            content = google.models.generate_content(model="gemini-2.0-flash", contents="Who?")
            assert content.text == "google"

        def test_after_it():
            assert {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"} == {
                k: v for k, v in BEFORE.items() if k != "PYTEST_CURRENT_TEST"
            }
    """).assert_outcomes(passed=2)


def test_faults_come_before_replies_in_their_own_order(run: Run) -> None:
    run("""
        import openai, pytest
        from app import ask

        def test_it(llm_double):
            llm_double.reply("At last.")
            llm_double.fail(429, times=1)
            llm_double.fail(503, times=1)
            with pytest.raises(openai.RateLimitError):
                ask("Now?")
            with pytest.raises(openai.InternalServerError):
                ask("Now?")
            assert ask("Now?") == "At last."

        def test_a_reply_of_higher_priority_comes_before_them(llm_double):
            llm_double.fail(503)
            llm_double.reply("First.", priority=2)
            assert ask("Now?") == "First."
    """).assert_outcomes(passed=2)


def test_a_rule_knows_its_calls_and_can_be_taken_away(run: Run) -> None:
    run("""
        import openai, pytest
        from app import ask

        def test_it(llm_double):
            rain = llm_double.reply("Rain.", text="Bergen", name="rain")
            sun = llm_double.reply("Sun.")
            ask("Bergen?"), ask("Lisbon?"), ask("Bergen again?")
            assert (rain.used, sun.used) == (2, 1)
            assert [call.text for call in rain.calls] == ["Bergen?", "Bergen again?"]
            assert [call.text for call in sun.calls] == ["Lisbon?"]
            rain.remove()
            assert ask("Bergen?") == "Sun."
            assert rain.used == 2
            with llm_double.outage("openai") as outage:
                with pytest.raises(openai.InternalServerError):
                    ask("Lisbon?")
            assert ask("Lisbon?") == "Sun."
            assert outage.used == 1
    """).assert_outcomes(passed=1)


def test_an_outage_for_a_time_ends_by_itself(run: Run) -> None:
    run("""
        import contextlib, openai
        from app import ask

        def test_it(llm_double):
            llm_double.reply("Back.")
            outage = llm_double.outage("openai", for_="1s")
            while llm_double.calls.statuses[-1:] != [200]:
                with contextlib.suppress(openai.InternalServerError):
                    assert ask("Now?") == "Back."
            assert llm_double.calls.statuses == [503] * outage.used + [200]
    """).assert_outcomes(passed=1)


def test_rules_as_the_script_language_has_them(run: Run) -> None:
    run("""
        from app import ask

        def test_it(llm_double):
            first, second = llm_double.rules(
                {"when": {"call": 1}, "reply": "One."},
                {"when": {"model": "gpt-4o-*"}, "reply": {"text": "Two."}},
            )
            assert [ask("?"), ask("?")] == ["One.", "Two."]
            assert (first.used, second.used) == (1, 1)
    """).assert_outcomes(passed=1)


def test_a_script_file_beside_the_test_by_marker_and_by_method(run: Run, project: pytest.Pytester) -> None:
    (project.path / "sub").mkdir()
    (project.path / "sub" / "rules.yaml").write_text("rules:\n  - reply: From the file.\n")
    (project.path / "sub" / "test_sub.py").write_text(
        "import pytest\nfrom app import ask\n"
        "@pytest.mark.llm_double(script='rules.yaml')\n"
        "def test_marked():\n    assert ask('?') == 'From the file.'\n"
        "def test_loaded(llm_double):\n    llm_double.load('rules.yaml')\n    assert ask('?') == 'From the file.'\n"
        "def test_neither(llm_double):\n    assert ask('?') != 'From the file.'\n"
    )
    run("").assert_outcomes(passed=3)


def test_a_marker_is_enough_and_comes_before_other_fixtures(run: Run) -> None:
    run("""
        import os, pytest
        from openai import OpenAI
        pytestmark = pytest.mark.llm_double(strict=True)

        @pytest.fixture
        def client():
            return OpenAI()

        def test_it(client):
            assert client.api_key.startswith("sk-") and os.environ["OPENAI_BASE_URL"].endswith("/v1")

        @pytest.mark.llm_double(strict=False)
        def test_the_closest_marker_counts(client):
            messages = [{"role": "user", "content": "no rule takes this"}]
            assert client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    """).assert_outcomes(passed=2)


def test_async_tests(run: Run) -> None:
    run("""
        import asyncio, pytest
        from openai import AsyncOpenAI

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_it(llm_double):
            llm_double.reply("One.", text="one")
            llm_double.reply("Two.", text="two")
            async with AsyncOpenAI() as client:
                ask = lambda text: client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": text}])
                answers = await asyncio.gather(ask("one"), ask("two"))
            assert [answer.choices[0].message.content for answer in answers] == ["One.", "Two."]
            llm_double.calls.wait_for(2)
    """).assert_outcomes(passed=1)


def test_tests_side_by_side_never_see_each_other(run: Run) -> None:
    run(
        """
        import pytest
        from app import ask

        @pytest.mark.parametrize("number", range(24))
        def test_it(llm_double, number):
            llm_double.reply(f"I am {number}.")
            assert ask("Who are you?") == f"I am {number}."
            if number % 3 == 0:
                llm_double.outage("openai")
                llm_double.reply(f"Claude {number}.", provider="anthropic", priority=1)
                assert ask("And now?", model="gpt-5-mini") == f"Claude {number}."
                llm_double.calls.assert_models("gpt-4o-mini", "gpt-5-mini", "gpt-4o", "claude-opus-4.1")
            else:
                llm_double.calls.assert_count(1)
        """,
        "-n",
        "4",
    ).assert_outcomes(passed=24)
