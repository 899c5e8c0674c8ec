"""Running the checks: side by side, told as they end, safe on a live deployment, and nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import time

import httpx
import pytest

from proxy.catalog import load_catalog, project_root
from proxy.checks import CHECKS, Result, Target, run_checks, smoke
from proxy.checks.run import AT_ONCE
from tests.checks.broken import Broken, Got, Sent
from tests.conftest import COMMAND, Double, Stack, bare_environment, until


def test_all_run_side_by_side_and_each_is_told_once(broken: Broken, target: Target) -> None:
    told: list[Result] = []
    results = run_checks(target, told.append)
    assert [result.reason for result in results if not result.passed] == []
    assert sorted(result.name for result in told) == sorted(result.name for result in results)
    per_model = sum(check.per_model for check in CHECKS)
    assert len(results) == per_model * len(load_catalog().models) + len(CHECKS) - per_model
    assert 1 < broken.busiest <= AT_ONCE


def test_a_live_deployment_is_asked_nothing_that_costs_and_told_what_was_left_out(
    broken: Broken, target: Target
) -> None:
    def live(_sent: Sent, got: Got) -> None:
        got.headers["x-litellm-local-mode"] = "live"

    broken.after = live
    results = run_checks(target)
    left_out = {result.name.split("[")[0]: result.reason for result in results if result.outcome == "left out"}
    assert set(left_out) == {check.name for check in CHECKS if check.costs}
    assert left_out["completion"] == "live deployment: a completion costs money"
    assert [result.reason for result in results if result.failed] == []
    bearer = f"Bearer {target.key}"
    paid = [sent for sent in broken.seen if sent.is_chat and sent.headers.get("authorization") == bearer]
    assert {sent.json["model"] for sent in paid} == {"no-such-model"}


def test_a_deployment_that_does_not_name_its_mode_counts_as_live(broken: Broken, target: Target) -> None:
    broken.after = lambda _sent, got: got.headers.pop("x-litellm-local-mode", None)
    (result,) = run_checks(target, only=["completion[gpt-4o]"])
    assert result.outcome == "left out"


def test_a_double_out_of_our_control_gets_no_fault(target: Target) -> None:
    (result,) = run_checks(Target(target.url, target.key), only=["fallback"])
    assert (result.outcome, result.reason) == ("left out", "no control of the simulator from here")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": [{}]}', b"{}"])
def test_what_is_no_gateway_is_one_failure_in_words(broken: Broken, target: Target, body: bytes) -> None:
    broken.after = lambda _sent, got: setattr(got, "body", body)
    (result,) = run_checks(target)
    assert (result.name, result.outcome) == ("reachable", "failed")
    assert target.url in result.reason


def all_keys_are_gone(broken: Broken) -> bool:
    """Whether each key that was made has been deleted, and is refused by now."""
    made = [sent for sent in broken.seen if sent.path == "/key/generate"]
    deleted = {key for sent in broken.seen if sent.path == "/key/delete" for key in sent.json["keys"]}
    assert len(deleted) == len(made) > 0
    with httpx.Client(base_url=broken.upstream, timeout=60, trust_env=False) as client:
        answers = [client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}) for key in deleted]
    return all(answer.status_code == 401 for answer in answers)


def test_keys_are_deleted_when_their_check_fails_too(
    broken: Broken, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "FLUSH_SECONDS", 0.5)

    def fail(sent: Sent, got: Got) -> None:
        if sent.is_chat or sent.path == "/usage":
            got.status = 500

    broken.after = fail
    results = run_checks(target, only=["spend in /usage", "virtual key: budget stop", "virtual key: make, use, delete"])
    assert all(result.failed for result in results)
    until("the keys are gone", lambda: all_keys_are_gone(broken), 20)


def test_the_fallback_check_leaves_the_rules_it_found(double: Double, target: Target) -> None:
    double.fail({"provider": "google", "model": "gemini-1.5-pro", "kind": "status", "status": 503, "times": 1})
    found = double.client.get("/_double/script").json()
    (result,) = run_checks(target, only=["fallback"])
    assert result.passed, result.reason
    assert double.client.get("/_double/script").json() == found


def test_ctrl_c_ends_the_command_without_a_trace_and_deletes_its_keys(
    broken: Broken, target: Target, stack: Stack
) -> None:
    broken.hold = lambda sent: sent.is_chat
    process = subprocess.Popen(
        [*COMMAND, "smoke", "--url", target.url, "--only", "spend in /usage", *stack.options],
        env={**bare_environment(), "LITELLM_MASTER_KEY": target.key},
        cwd=project_root(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until("a request held", lambda: any(sent.is_chat for sent in broken.seen))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert target.key not in output
    assert time.monotonic() - began < smoke.FLUSH_SECONDS
    until("the keys are gone", lambda: all_keys_are_gone(broken), 20)
