"""What never gets into a cassette."""

from __future__ import annotations

import pytest

from proxy.simulator.cassettes.scrub import REQUEST_HEADERS, RESPONSE_HEADERS, Scrubber

KEY = "sk-" + "proj-Zk3/x+9Qw7Er5Ty1"


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer %b"),
        (b"Authorization", b"%b"),
        (b"x-api-key", b"%b"),
        (b"x-goog-api-key", b"%b"),
        (b"api-key", b"%b"),
        (b"cookie", b"theme=dark; session=%b"),
        (b"set-cookie", b"__cf_bm=%b; path=/; domain=api.openai.com; HttpOnly"),
        (b"openai-organization", b"%b"),
        (b"openai-project", b"%b"),
        (b"anthropic-organization-id", b"%b"),
    ],
    ids=lambda header: header[0].decode(),
)
def test_a_secret_of_a_header_is_taken_out_of_bodies_however_it_is_spelt(header: tuple[bytes, bytes]) -> None:
    scrubber = Scrubber()
    scrubber.see([(header[0], header[1].replace(b"%b", KEY.encode()))])
    for spelling in (KEY, KEY.replace("/", "\\/"), "sk-proj-Zk3%2Fx%2B9Qw7Er5Ty1"):
        assert scrubber.body(f'{{"a":"<{spelling}>"}}'.encode()) == b'{"a":"<[scrubbed]>"}'
    assert scrubber.body(b"/ api.openai.com dark") == b"/ api.openai.com dark"


def test_a_key_in_a_query_is_left_out_and_taken_out_of_bodies() -> None:
    scrubber = Scrubber()
    query = b"alt=sse&key=AIza-no-real-key&pageSize=1"
    scrubber.see([], query)
    path = "/gemini/v1beta/models/gemini-1.5-pro:streamGenerateContent"
    assert scrubber.path(path, query) == f"{path}?alt=sse&pageSize=1"
    assert scrubber.path(path, b"key=AIza-no-real-key") == path
    assert scrubber.body(b'{"text":"my key is AIza-no-real-key"}') == b'{"text":"my key is [scrubbed]"}'
    assert "AIza" not in scrubber.path("/gemini/v1beta/AIza-no-real-key", b"note=AIza-no-real-key")


def test_what_is_shaped_like_a_key_or_an_account_is_taken_out_though_no_header_had_it() -> None:
    body = (
        "Incorrect API key provided: sk-proj-********************ab12. Rate limit reached for org-Ab12Cd34Ef56Gh78 "
        "in proj_Ab12Cd34Ef56Gh78 with AIza" + "x" * 35 + '\\nsk-ant-api03-abcdefghijklmnop and "ya29.' + "a" * 30 + '"'
    )
    assert Scrubber().body(body.encode()).decode() == (
        "Incorrect API key provided: [scrubbed]. Rate limit reached for [scrubbed] in [scrubbed] with [scrubbed]"
        '\\n[scrubbed] and "[scrubbed]"'
    )


def test_words_are_left_alone() -> None:
    text = b"ask-me-anything-you-like, sk-short, organisation, org-chart, project_x, task-force-of-the-century"
    scrubber = Scrubber()
    scrubber.see([(b"authorization", b"Bearer any"), (b"x-api-key", b"test")])
    assert scrubber.body(text + b" any test") == text + b" any test"


def test_only_headers_that_are_of_use_are_kept() -> None:
    scrubber = Scrubber()
    sent = [
        (b"Content-Type", b"application/json"), (b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"a,b"),
        (b"authorization", b"Bearer x"), (b"x-api-key", b"x"), (b"x-goog-api-key", b"x"), (b"cookie", b"a=b"),
        (b"openai-organization", b"org-x"), (b"openai-project", b"proj_x"), (b"user-agent", b"x"),
        (b"x-stainless-os", b"Linux"), (b"x-forwarded-for", b"203.0.113.1"), (b"x-double-scope", b"x"),
    ]  # fmt: skip
    assert scrubber.headers(sent, REQUEST_HEADERS) == {
        "anthropic-beta": "a,b",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    came = [
        (b"content-type", b"text/event-stream"), (b"retry-after", b"2"), (b"openai-version", b"2020-10-01"),
        (b"x-ratelimit-remaining-requests", b"0"), (b"anthropic-ratelimit-tokens-reset", b"2026-11-25T10:00:00Z"),
        (b"set-cookie", b"a=b"), (b"openai-organization", b"acme"), (b"anthropic-organization-id", b"x"),
        (b"cf-ray", b"x"), (b"cf-cache-status", b"x"), (b"x-request-id", b"x"), (b"request-id", b"x"),
        (b"server", b"cloudflare"), (b"alt-svc", b"h3"), (b"x-account-of-something-new", b"x"),
    ]  # fmt: skip
    assert set(scrubber.headers(came, RESPONSE_HEADERS)) == {
        "content-type",
        "retry-after",
        "openai-version",
        "x-ratelimit-remaining-requests",
        "anthropic-ratelimit-tokens-reset",
    }
