"""What a test that fails says: what was expected, what came instead, and all that the double was asked."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import Run


def lines_of(result: pytest.RunResult, *patterns: str) -> None:
    """`patterns` are lines of the output, in this order; * stands for anything."""
    result.stdout.fnmatch_lines([pattern.replace("[", "[[]") for pattern in patterns])


def test_calls_other_than_expected(run: Run) -> None:
    result = run("""
        from app import ask

        def test_models(llm_double):
            llm_double.outage("openai", 500)
            llm_double.reply("Claude here.", provider="anthropic", name="claude")
            ask("Anybody there?", model="gpt-4o")
            llm_double.calls.assert_models("gpt-4o", "claude-sonnet-4")

        def test_count(llm_double):
            ask("One")
            ask("Two")
            llm_double.calls(text="One").assert_count(2)

        def test_wait(llm_double):
            ask("One")
            llm_double.calls(model="gpt-*").wait_for(2, timeout=0.2)

        def test_nothing_was_asked(llm_double):
            llm_double.calls.last
    """)
    result.assert_outcomes(failed=4)
    lines_of(
        result,
        "E   *expected calls of these models, in this order:",
        "E   *  gpt-4o, claude-sonnet-4",
        "E   *but got calls of:",
        "E   *  gpt-4o, gpt-4o-mini, claude-sonnet-4",
        "E   *the calls were:",
        'E   *   1  +0.00 s  gpt-4o           "Anybody there?"',
        "E   *                                → 500, fault:status, by outage of openai",
        'E   *   3  +?.?? s  claude-sonnet-4  "Anybody there?"',
        "E   *                                → 200, ok (end_turn), by claude",
        "*- llm_double, scope key-* -*",
        "the script, not strict:",
        "  outage of openai  outage('openai') (test_it.py:4): used 2×",
        "  claude  reply('Claude here.', provider='anthropic', name='claude') (test_it.py:5): used 1×",
        "E   *expected 2 calls with text='One', but got 1",
        "E   *the calls were (> marks those chosen):",
        'E   *>  1  +0.00 s  gpt-4o-mini  "One"',
        'E   *   2  +?.?? s  gpt-4o-mini  "Two"',
        "E   *waited 0.2 s for 2 calls with model='gpt-*' to end: 1 did",
        "E   *there was no such call",
    )
    # Where the message lists the calls, the section beside it does not list them again.
    assert result.stdout.str().count('"Two"') == 2  # in the test's text and in the message


def test_any_failure_shows_script_and_calls(run: Run) -> None:
    result = run("""
        import pytest
        from app import ask

        def test_it(llm_double):
            llm_double.reply(tool_calls={"weather": {"city": "Rome"}}, turn=1)
            with llm_double.fail("delay", seconds=0, text="nothing like it"):
                ask("Rome?")
            assert 1 == 2

        @pytest.fixture
        def broken(llm_double):
            ask("in a fixture")
            raise RuntimeError("no more")

        def test_set_up(broken):
            pass

        @pytest.fixture
        def untidy(llm_double):
            yield
            ask("at the end")
            raise RuntimeError("no less")

        def test_tear_down(untidy):
            pass
    """)
    result.assert_outcomes(failed=1, errors=2, passed=1)
    lines_of(
        result,
        "*ERROR at setup of test_set_up*",
        "*- llm_double, scope key-* -*",
        "the script, not strict, has no rules",
        '*"in a fixture"',
        "*ERROR at teardown of test_tear_down*",
        "*- llm_double, scope key-* -*",
        '*"at the end"',
        "*_ test_it _*",
        "the script, not strict:",
        "  #*  reply(tool_calls={'weather': {'city': 'Rome'}}, turn=1) (test_it.py:5): used 1×",
        "  #*  fail('delay', seconds=0, text='nothing like it') (test_it.py:6): never used, removed",
        '*  1  +0.00 s  gpt-4o-mini  "Rome?"',
        "*→ 200, ok (tool_calls), by #*",
    )


def test_rules_that_were_never_used_are_told_of_where_the_test_passes(run: Run) -> None:
    result = run(
        """
        from app import ask

        def test_it(llm_double):
            llm_double.reply("Sunny.", text="weather")
            llm_double.reply("Anything.")
            assert ask("Hello?") == "Anything."
        """,
        "-rP",
    )
    result.assert_outcomes(passed=1)
    lines_of(result, "*- llm_double -*", "never used: reply('Sunny.', text='weather') (test_it.py:4)")
    result.stdout.no_fnmatch_line("never used: reply('Anything.')*")


STRICT = """
    import openai
    from app import ask

    {marker}
    def test_unmatched(llm_double):
        {call}
        llm_double.reply("Sunny.", text="weather")
        assert ask("How is the weather?") == "Sunny."
        try:
            ask("How is the food?")
        except openai.BadRequestError as error:
            assert "weather" in str(error)  # the app under test may well hide it

    {marker}
    def test_unused(llm_double):
        {call}
        llm_double.reply("Sunny.", text="weather")
        llm_double.fail(503, model="gpt-4o")
        assert ask("How is the weather?") == "Sunny."

    {marker}
    def test_all_well(llm_double):
        {call}
        llm_double.reply("Sunny.", text="weather")
        assert ask("How is the weather?") == "Sunny."
"""


@pytest.mark.parametrize(
    ("marker", "call", "options", "setting"),
    [
        ("@__import__('pytest').mark.llm_double(strict=True)", "", (), ""),
        ("", "llm_double.strict()", (), ""),
        ("", "", ("--llm-double-strict",), ""),
        ("", "", (), "llm_double_strict = true"),
    ],
    ids=["marker", "method", "option", "ini"],
)
def test_strict(
    run: Run, project: pytest.Pytester, marker: str, call: str, options: tuple[str, ...], setting: str
) -> None:
    project.makeini(f"[pytest]\n{setting}")
    result = run(STRICT.format(marker=marker, call=call or "pass"), *options)
    result.assert_outcomes(failed=2, passed=1)
    lines_of(
        result,
        "*_ test_unmatched _*",
        "llm_double is strict: 1 call that no rule took",
        '  no rule took a call: gpt-4o-mini "How is the food?"',
        "    → 400, no match, by no rule: no rule of scope *; the nearest, #*, wants text containing 'weather'*",
        "the script, strict:",
        "*_ test_unused _*",
        "llm_double is strict: 1 rule that was never used",
        "  never used: fail(503, model='gpt-4o') (test_it.py:*)",
        "FAILED test_it.py::test_unmatched - Failed: llm_double is strict: 1 call that no rule took",
        "FAILED test_it.py::test_unused - Failed: llm_double is strict: 1 rule that was never used",
    )


def test_not_strict_by_default(run: Run) -> None:
    run(STRICT.format(marker="", call="pass").replace('assert "weather" in str(error)', "raise")).assert_outcomes(
        passed=3
    )


def test_strict_says_that_it_comes_too_late_and_keeps_the_rules_that_are_there(run: Run) -> None:
    result = run("""
        import pytest
        from app import ask

        def test_it(llm_double):
            hello = llm_double.reply("Hello.", name="hello", times=2)
            llm_double.strict()
            assert ask("?") == "Hello."
            assert (hello.used, hello.name, len(hello.calls)) == (1, "hello", 1)
            with pytest.raises(RuntimeError, match="too late"):
                llm_double.strict()
            hello.remove()
            assert hello.used == 1
    """)
    result.assert_outcomes(passed=1)


def test_rules_of_a_file_need_not_be_used(run: Run, project: pytest.Pytester) -> None:
    (project.path / "rules.yaml").write_text(
        "strict: true\n"
        "rules:\n  - {name: sun, when: {text: sun}, reply: Sun.}\n  - {when: {text: rain}, reply: Rain.}\n"
    )
    result = run("""
        import pytest
        from app import ask

        @pytest.mark.llm_double(script="rules.yaml")
        def test_it():
            assert ask("sun?") == "Sun."

        @pytest.mark.llm_double(script="rules.yaml")
        def test_it_is_strict():
            with pytest.raises(Exception):
                ask("snow?")
    """)
    result.assert_outcomes(passed=1, failed=1)
    lines_of(
        result,
        '  no rule took a call: gpt-4o-mini "snow?"',
        "the script, strict:",
        "  sun  from a file: never used",
        "  #*  from a file: never used",
    )


def test_mistakes_in_a_script_file_are_told_with_their_lines(run: Run, project: pytest.Pytester) -> None:
    (project.path / "rules.yaml").write_text("rules:\n  - when: {txt: sun}\n    reply: Sun.\n  - reply: {text: 5}\n")
    result = run("""
        def test_it(llm_double):
            llm_double.load("rules.yaml")

        def test_there_is_none(llm_double):
            llm_double.load("rulez.yaml")
    """)
    result.assert_outcomes(failed=2)
    lines_of(
        result,
        "E *rules.yaml:2: *txt*did you mean*text*",
        "E *rules.yaml:4: *",
        "E *FileNotFoundError: no script 'rulez.yaml'; looked for*",
    )


MISTAKES = {
    "reply('Hi.', modl='gpt-4o')": "TypeError: reply() does not know 'modl'; did you mean model?",
    "fail(429, retry_afer=1)": "TypeError: fail() does not know 'retry_afer'; did you mean retry_after?",
    "reply(text='Hi.')": 'TypeError: reply(text=…) is the text of the request to be answered.*reply("Sunny")',
    "reply({'a': 1})": "TypeError: reply(): the text must be a str, not dict; for JSON, reply(json=…)",
    "fail()": "TypeError: *missing 1 required positional argument*",
    "fail(None)": "TypeError: fail(): give a status or one of status, delay, hang,*",
    "fail('explode')": "*DoubleError: *kind*",
    "fail(429, seconds=1)": "*DoubleError: *seconds has no meaning for kind status*",
    "outage('azure')": "*DoubleError: *provider*",
    "reply('Hi.', for_='soon')": "*DoubleError: *'soon' is no duration*",
    "calls(modell='x')": "TypeError: calls cannot be chosen by 'modell'; known: model,*",
}


def test_mistakes_in_a_call_are_told_in_words(run: Run) -> None:
    tests = (f"def test_{number}(llm_double):\n    llm_double.{call}\n" for number, call in enumerate(MISTAKES))
    result = run("\n".join(tests))
    result.assert_outcomes(failed=len(MISTAKES))
    lines_of(result, *(f"E  *{message}" for message in MISTAKES.values()))


def test_mistakes_in_a_marker(run: Run) -> None:
    result = run("""
        import pytest

        @pytest.mark.llm_double(stric=True)
        def test_it():
            pass
    """)
    result.assert_outcomes(errors=1)
    lines_of(result, "*@pytest.mark.llm_double takes strict=… and script=…, not stric*")
