"""When two requests are the same, and what is said of two that are not."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.simulator.cassettes.compare import differences, key_of, normalised, told
from tests.simulator.cassettes.exchanges import chat


def same(left: Any, right: Any) -> bool:
    return key_of(normalised(left)) == key_of(normalised(right))


def with_tool_call(call_id: str, result_id: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": "{}"}
    return {
        "messages": [
            {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": result_id, "content": "sun"},
        ]
    }


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (chat(), dict(reversed(chat().items()))),
        (chat(temperature=1), chat(temperature=1.0)),
        (chat(user="a"), chat(user="b")),
        (chat(metadata={"trace": 1}), chat()),
        (chat(tools=None), chat()),
        (chat(stream=False), chat()),
        (with_tool_call("call_1", "call_1"), with_tool_call("call_2", "call_2")),
        (
            {"contents": [{"parts": [{"functionCall": {"id": "a", "name": "f"}}]}]},
            {"contents": [{"parts": [{"functionCall": {"name": "f"}}]}]},
        ),
    ],
)
def test_what_changes_from_run_to_run_is_left_aside(left: Any, right: Any) -> None:
    assert same(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (chat("a"), chat("b")),
        (chat(temperature=1), chat(temperature=True)),
        (chat(stream=True), chat()),
        (chat(n=None, seed=1), chat(seed=2)),
        (with_tool_call("call_1", "call_1"), with_tool_call("call_1", "call_2")),
        ({"a": [1, 2]}, {"a": [2, 1]}),
    ],
)
def test_what_is_asked_counts(left: Any, right: Any) -> None:
    assert not same(left, right)


def test_differences_are_told_path_by_path_and_short() -> None:
    recorded = chat("What is the weather like in Oslo today, and what will it be tomorrow? " * 3 + "Sun?", n=1, seed=3)
    asked = chat("What is the weather like in Oslo today, and what will it be tomorrow? " * 3 + "Rain?", top_p=0.5, n=2)
    found = [told(one) for one in differences(recorded, asked)]
    assert found == [
        'messages.0.content is "…t be tomorrow? Rain?", recorded: "…t be tomorrow? Sun?"',
        "n is 2, recorded: 1",
        "seed is not given, recorded: 3",
        "top_p is 0.5, recorded: not given",
    ]
    longer = chat(tools=[{"type": "function", "function": {"name": "x" * 500}}])
    assert all(len(told(one)) < 200 for one in differences(chat(), longer))
    assert [told(one) for one in differences([1, 2], [1])] == ["1 is not given, recorded: 2"]
    assert list(differences(chat(), chat())) == []
