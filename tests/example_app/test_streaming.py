"""Streamed answers: whole, slow, cut off, and never begun."""

from __future__ import annotations

import pytest
from travel.assistant import Assistant, Interrupted

TEXT = "Lisbon is sunny today, and the sea is warm enough for a swim."


def test_the_pieces_make_the_answer(assistant, llm_double):
    llm_double.reply(TEXT)
    pieces = list(assistant.stream("Lisbon?"))
    assert "".join(pieces) == TEXT
    assert len(pieces) > 3
    assert llm_double.calls.last.stream


def test_a_cut_stream_gives_what_had_come(assistant, llm_double):
    llm_double.reply(TEXT)
    llm_double.fail("cut", after_chunks=5)
    pieces = []
    with pytest.raises(Interrupted) as interrupted:
        pieces.extend(assistant.stream("Lisbon?"))
    assert interrupted.value.partial
    assert TEXT.startswith(interrupted.value.partial)
    assert interrupted.value.partial != TEXT
    llm_double.calls.assert_count(1)


def test_an_answer_that_broke_off_can_be_asked_for_again(assistant, llm_double):
    llm_double.reply(TEXT)
    llm_double.fail("cut", after_chunks=5, times=1)
    with pytest.raises(Interrupted):
        list(assistant.stream("Lisbon?"))
    assert "".join(assistant.stream("Lisbon?")) == TEXT
    assert [call.outcome for call in llm_double.calls] == ["fault:cut", "ok"]


def test_an_error_before_the_first_piece_goes_to_the_fallback(assistant, llm_double):
    llm_double.fail(500, model="gpt-5-mini")
    llm_double.reply(TEXT, model="gpt-4o")
    assert "".join(assistant.stream("Lisbon?")) == TEXT
    llm_double.calls.assert_models("gpt-5-mini", "gpt-4o")


def test_a_slow_answer_is_the_same_answer(assistant, llm_double):
    llm_double.reply(TEXT, timing={"first_token": "200ms", "tokens_per_second": 100})
    assert "".join(assistant.stream("Lisbon?")) == TEXT
    call = llm_double.calls.wait_for(1).last
    assert call.ended_at - call.started_at >= 0.2


def test_a_model_without_fallback_that_fails(llm_double):
    llm_double.fail(529, provider="anthropic")
    with pytest.raises(Interrupted) as interrupted:
        list(Assistant("claude-sonnet-4", patience=0).stream("Lisbon?"))
    assert interrupted.value.partial == ""
