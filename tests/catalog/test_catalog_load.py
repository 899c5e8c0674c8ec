"""Every mistake in config/proxy.yaml is named by file, line and likely intent, all in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.catalog import CatalogError, Problem, load_catalog, project_root
from proxy.catalog.load import default_path

DEFAULT = default_path().read_text(encoding="utf-8")


def problems(tmp_path: Path, content: str | bytes) -> tuple[Problem, ...]:
    file = tmp_path / "proxy.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CatalogError) as caught:
        load_catalog(file)
    return caught.value.problems


def edited(old: str, new: str) -> tuple[str, int]:
    """The shipped file with its first `old` replaced, and the line of the edit."""
    assert old in DEFAULT
    return DEFAULT.replace(old, new, 1), DEFAULT[: DEFAULT.index(old)].count("\n") + 1


def test_shipped_file_is_right_and_has_the_services_values() -> None:
    catalog = load_catalog()
    table = {
        alias: (
            model.provider,
            model.upstream,
            model.temperature,
            model.context_window,
            model.price_per_1k.input,
            model.price_per_1k.output,
        )
        for alias, model in catalog.models.items()
    }
    assert table == {
        "gpt-5-mini": ("openai", "gpt-5-mini-2025-08-07", 1.0, 400_000, 0.00075, 0.003),
        "gpt-4o": ("openai", "gpt-4o", 0.7, 128_000, 0.002, 0.006),
        "gpt-4o-mini": ("openai", "gpt-4o-mini", 0.7, 128_000, 0.00015, 0.0006),
        "claude-opus-4.1": ("anthropic", "claude-3-opus-20240229", 0.7, 200_000, 0.015, 0.075),
        "claude-sonnet-4": ("anthropic", "claude-3-5-sonnet-20241022", 0.7, 200_000, 0.003, 0.015),
        "claude-opus-4-5-20251101": ("anthropic", "claude-opus-4-5-20251101", 0.1, 200_000, 0.015, 0.075),
        "gemini-2.5-pro": ("google", "gemini-1.5-pro", 0.7, 2_000_000, 0.00125, 0.005),
        "gemini-2.0-flash": ("google", "gemini-1.5-flash", 0.7, 1_000_000, 0.000075, 0.0003),
    }
    assert catalog.fallbacks == {
        "gpt-5-mini": ["gpt-4o", "claude-opus-4.1", "gemini-2.5-pro"],
        "gpt-4o": ["gpt-4o-mini", "claude-sonnet-4", "gemini-2.0-flash"],
        "claude-opus-4.1": ["claude-sonnet-4", "gpt-4o", "gemini-2.5-pro"],
        "gemini-2.5-pro": ["gemini-2.0-flash", "gpt-4o", "claude-sonnet-4"],
    }
    assert [(name, provider.api, provider.key_env) for name, provider in catalog.providers.items()] == [
        ("openai", "openai", "OPENAI_API_KEY"),
        ("anthropic", "anthropic", "ANTHROPIC_API_KEY"),
        ("google", "gemini", "GEMINI_API_KEY"),
    ]
    assert catalog.limits.model_dump() == {
        "requests_per_minute": 1000,
        "retries": 3,
        "retry_delay_seconds": 2,
        "request_timeout_seconds": 600,
        "max_body_mb": 10,
        "max_nesting": 64,
    }
    assert catalog.gateway.model_dump() == {"host": "127.0.0.1", "port": 4000, "workers": 1}
    assert catalog.database.url is None


def test_shipped_file_has_the_services_edge_and_kubernetes() -> None:
    catalog = load_catalog()
    edge, cluster = catalog.edge, catalog.kubernetes
    assert (edge.requests_per_second, edge.burst_factor, edge.allow, edge.tls.issuer) == (100, 5, [], "letsencrypt")
    assert (cluster.replicas.min, cluster.replicas.max, cluster.port) == (3, 10, 4000)
    assert (cluster.cpu.request, cluster.cpu.limit) == ("500m", "1000m")
    assert (cluster.memory.request, cluster.memory.limit) == ("1Gi", "2Gi")
    for probe, delay, period in ((cluster.liveness, 60, 30), (cluster.readiness, 30, 10)):
        assert (probe.path, probe.initial_delay_seconds, probe.period_seconds) == ("/health/readiness", delay, period)
    assert (cluster.database.service, cluster.database.port, cluster.database.name) == (
        "postgres-service",
        5432,
        "litellm",
    )
    assert (cluster.image, cluster.ingress_class) == ("ghcr.io/berriai/litellm:main-stable", "nginx")


MISTAKES = {
    # fallbacks
    "unknown fallback": (
        "claude-opus-4.1, gemini-2.5-pro]",
        "claude-opus-4, gemini-2.5-pro]",
        "fallbacks.gpt-5-mini.1: unknown fallback model 'claude-opus-4'; did you mean 'claude-opus-4.1'?",
    ),
    "unknown fallback in another case": (
        "[gpt-4o-mini, ",
        "[GPT-4o-mini, ",
        "fallbacks.gpt-4o.0: unknown fallback model 'GPT-4o-mini'; did you mean 'gpt-4o-mini'?",
    ),
    "chain of an unknown model": (
        "  gpt-5-mini:      [",
        "  gpt-5-mimi:      [",
        "fallbacks.gpt-5-mimi: unknown model 'gpt-5-mimi'; did you mean 'gpt-5-mini'?",
    ),
    "own fallback": (
        "[gpt-4o-mini, claude-sonnet-4,",
        "[gpt-4o, claude-sonnet-4,",
        "fallbacks.gpt-4o.0: 'gpt-4o' cannot be its own fallback; remove it",
    ),
    "cycle": (
        "[gpt-4o-mini, claude-sonnet-4, gemini-2.0-flash]",
        "[gpt-4o-mini, claude-sonnet-4, gpt-4o]",
        "fallbacks.gpt-4o.2: a cycle: gpt-4o -> gpt-4o-mini -> claude-sonnet-4 -> gpt-4o would ask 'gpt-4o' again;",
    ),
    "repeated fallback": (
        "[gemini-2.0-flash, gpt-4o, claude-sonnet-4]",
        "[gemini-2.0-flash, gpt-4o, gpt-4o]",
        "fallbacks.gemini-2.5-pro.2: 'gpt-4o' is already in this chain",
    ),
    "chain that is no list": (
        "[gpt-4o-mini, claude-sonnet-4, gemini-2.0-flash]",
        "gpt-4o-mini",
        "fallbacks.gpt-4o: must be a list, such as [a, b], not the text 'gpt-4o-mini'; write [gpt-4o-mini]",
    ),
    # models and providers
    "unknown provider": (
        "    provider: google\n",
        "    provider: gogle\n",
        "models.gemini-2.5-pro.provider: unknown provider 'gogle'; did you mean 'google'?",
    ),
    "unknown api": (
        "{api: gemini, ",
        "{api: gemeni, ",
        "providers.google.api: 'gemeni' is not one of openai, anthropic, gemini; did you mean 'gemini'?",
    ),
    "key in place of its name": (
        "key_env: OPENAI_API_KEY",
        "key_env: sk-proj-abcdef0123456789",
        "providers.openai.key_env: this is the NAME of an environment variable, such as OPENAI_API_KEY, never the key",
    ),
    "base URL under LiteLLM's name": (
        "key_env: OPENAI_API_KEY}",
        "key_env: OPENAI_API_KEY, api_base: 'https://llm.example.com/v1'}",
        "providers.openai.api_base: unknown key; did you mean 'base_url'?",
    ),
    "base URL without its scheme": (
        "key_env: OPENAI_API_KEY}",
        "key_env: OPENAI_API_KEY, base_url: 'llm.example.com/v1'}",
        "providers.openai.base_url: a base URL starts with https:// or http://",
    ),
    "base URL without a host": (
        "key_env: OPENAI_API_KEY}",
        "key_env: OPENAI_API_KEY, base_url: 'https:///v1'}",
        "providers.openai.base_url: this is no URL with a host",
    ),
    "base URL with an impossible port": (
        "key_env: OPENAI_API_KEY}",
        "key_env: OPENAI_API_KEY, base_url: 'https://llm.example.com:99999/v1'}",
        "providers.openai.base_url: this is no URL with a host",
    ),
    "base URL with a space": (
        "key_env: OPENAI_API_KEY}",
        "key_env: OPENAI_API_KEY, base_url: 'https://llm.example.com/v1 '}",
        "providers.openai.base_url: a base URL has no spaces",
    ),
    "base URL with a password": (
        "key_env: OPENAI_API_KEY}",
        "key_env: OPENAI_API_KEY, base_url: 'https://me:secret@llm.example.com/v1'}",
        "providers.openai.base_url: a base URL holds no user name or password; the key comes from key_env",
    ),
    "base URL with a key": (
        "key_env: GEMINI_API_KEY}",
        "key_env: GEMINI_API_KEY, base_url: 'https://llm.example.com/v1beta?key=secret'}",
        "providers.google.base_url: a base URL ends with its path, without ? or #",
    ),
    "Anthropic base URL with the version": (
        "key_env: ANTHROPIC_API_KEY}",
        "key_env: ANTHROPIC_API_KEY, base_url: 'https://api.anthropic.com/v1/'}",
        "providers.anthropic.base_url: leave out /v1",
    ),
    "Gemini base URL without the version": (
        "key_env: GEMINI_API_KEY}",
        "key_env: GEMINI_API_KEY, base_url: 'https://generativelanguage.googleapis.com'}",
        "providers.google.base_url: must end in /v1beta",
    ),
    "OpenAI base URL of one call": (
        "key_env: OPENAI_API_KEY}",
        "key_env: OPENAI_API_KEY, base_url: 'https://api.openai.com/v1/chat/completions'}",
        "providers.openai.base_url: must end before /chat/completions",
    ),
    "alias with a space": (
        "  gpt-4o-mini:\n",
        "  gpt 4o mini:\n",
        "models.gpt 4o mini: 'gpt 4o mini' will not do: an alias starts with a letter or digit",
    ),
    "alias with LiteLLM's wildcard": ("  gpt-4o-mini:\n", "  gpt-4o*:\n", "models.gpt-4o*: 'gpt-4o*' will not do"),
    "alias with a control character": ("  gpt-4o-mini:\n", '  "gpt\\n4o":\n', "an alias starts with a letter or digit"),
    "alias that is a number": ("  gpt-4o-mini:\n", "  4:\n", "models: the key '4' is not text; put it in quotes"),
    "upstream with its provider": (
        "upstream: gemini-1.5-pro",
        "upstream: gemini/gemini-1.5-pro",
        "models.gemini-2.5-pro.upstream: write 'gemini-1.5-pro': the provider already says 'gemini'",
    ),
    "temperature that Anthropic refuses": (
        "temperature: 0.1",
        "temperature: 1.5",
        "models.claude-opus-4-5-20251101.temperature: Anthropic takes 0 to 1, not 1.5",
    ),
    "temperature out of range": ("temperature: 1.0", "temperature: 2.5", "must be at most 2, not 2.5"),
    "temperature that is no number": ("temperature: 1.0", "temperature: .nan", "must be"),
    # unknown and missing keys
    "misspelt key": (
        "    upstream: gpt-4o\n",
        "    upstrem: gpt-4o\n",
        "models.gpt-4o.upstrem: unknown key; did you mean 'upstream'?",
    ),
    "the table's name of the window": (
        "    context_window: 400000",
        "    max_tokens: 400000",
        "models.gpt-5-mini.max_tokens: unknown key; did you mean 'context_window'?",
    ),
    "misspelt section": ("limits:\n", "limit:\n", "limit: unknown key; did you mean 'limits'?"),
    "key in the wrong place": ("edge:\n", "edge:\n  retries: 3\n", "edge.retries: unknown key"),
    # values
    "negative price": ("input: 0.002,", "input: -0.002,", "models.gpt-4o.price_per_1k.input: must be at least 0"),
    "infinite price": ("input: 0.002,", "input: .inf,", "models.gpt-4o.price_per_1k.input: must be a finite number"),
    "price per million": (
        "{input: 0.002, output",
        "{input: 2.5, output",
        "models.gpt-4o.price_per_1k.input: 2.5 is no price per 1,000 tokens (its list price: 0.0025). "
        "If it is dollars per 1,000,000 tokens, write 0.0025",
    ),
    "price per million of an unlisted model": (
        "{input: 0.000075,",
        "{input: 0.075,",
        "models.gemini-2.0-flash.price_per_1k.input: 0.075 is no price per 1,000 tokens (models of gemini:",
    ),
    "price per token": (
        "output: 0.006}",
        "output: 6e-6}",
        "models.gpt-4o.price_per_1k.output: 6e-06 is no price per 1,000 tokens (its list price: 0.01). "
        "If it is dollars per single token, write 0.006",
    ),
    "price per token of an unlisted model": (
        "{input: 0.003, output: 0.015}",
        "{input: 0.000003, output: 0.015}",
        "models.claude-sonnet-4.price_per_1k.input: 3e-06 is no price per 1,000 tokens",
    ),
    "price with a currency": ("input: 0.002,", "input: $0.002,", "must be a number, not the text '$0.002'"),
    "rpm 0": ("requests_per_minute: 1000", "requests_per_minute: 0", "must be greater than 0, not 0"),
    "number in quotes": (
        "requests_per_minute: 1000",
        'requests_per_minute: "1000"',
        "limits.requests_per_minute: must be a whole number, not the text '1000'; remove the quotes",
    ),
    "thousands separator": (
        "context_window: 400000",
        "context_window: 400_000",
        "models.gpt-5-mini.context_window: must be a whole number, not the text '400_000'; write 400000",
    ),
    "boolean for a number": ("port: 4000", "port: true", "gateway.port: must be a whole number, not true"),
    "fraction for a whole number": ("retries: 3 ", "retries: 2.5 ", "limits.retries: must be a whole number, not 2.5"),
    "number for text": ("upstream: gpt-4o\n", "upstream: 4\n", "must be text, not 4; put it in quotes"),
    "no value": ("    upstream: gpt-4o\n", "    upstream:\n", "must be text, but nothing is given"),
    "port out of range": ("port: 4000", "port: 70000", "gateway.port: must be at most 65535, not 70000"),
    "more workers than one": ("workers: 1", "workers: 4", "gateway.workers: must be 1: each worker would let through"),
    "deadline of no time": ("request_timeout_seconds: 600", "request_timeout_seconds: 0", "must be greater than 0"),
    "database that is not PostgreSQL": ("  url: null", "  url: mysql://u:hunter2@h/db", "a PostgreSQL URL is written"),
    "network with host bits": (
        "  allow: [] ",
        "  allow: [10.0.0.7/24] ",
        "edge.allow.0: must be an IP address or a network such as 203.0.113.0/24, host bits zero",
    ),
    "domain with a scheme": ("domain: null", "domain: https://llm.acme.org", "a domain is written llm."),
    "limit below request": (
        "cpu: {request: 500m, limit: 1000m}",
        "cpu: {request: 2, limit: 1000m}",
        "kubernetes.cpu.request: must be text, not 2; put it in quotes",
    ),
    "cpu below its request": ("limit: 1000m}", "limit: 100m}", "limit (100m) is less than request (500m)"),
    "memory below its request": ("limit: 2Gi}", "limit: 512Mi}", "limit (512Mi) is less than request (1Gi)"),
    "fewer replicas at most than at least": ("{min: 3, max: 10}", "{min: 3, max: 2}", "max (2) is less than min (3)"),
    "memory in another unit": ("request: 1Gi", "request: 1GB", "memory is written 512Mi or 1Gi"),
    # YAML
    "duplicate alias": ("  gpt-4o-mini:\n", "  gpt-4o:\n", "models.gpt-4o: duplicate key; it is first given on line"),
    "tab": ("  workers: 1", "\tworkers: 1", "Indent with spaces, not tabs."),
    "bracket left open": (
        "[gemini-2.0-flash, gpt-4o, claude-sonnet-4]",
        "[gemini-2.0-flash, gpt-4o, claude-sonnet-4",
        "bad YAML at column",
    ),
    "anchor": ("{input: 0.00075, output: 0.003}", "&price {input: 1, output: 1}", "anchors and aliases (& and *)"),
    "tag": ("upstream: gpt-4o\n", "upstream: !!python/name:os.system\n", "must be text"),
    "second document": ("limits:\n", "---\nlimits:\n", "a second document starts here"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_named_with_line_and_likely_intent(name: str, tmp_path: Path) -> None:
    old, new, message = MISTAKES[name]
    text, line = edited(old, new)
    found = problems(tmp_path, text)
    matching = [problem for problem in found if message in str(problem)]
    assert matching, [str(problem) for problem in found]
    assert abs(matching[0].line - line) <= (1 if new.startswith("edge:") else 0)


def test_a_pasted_secret_is_never_repeated(tmp_path: Path) -> None:
    for name, secret in (("key in place of its name", "sk-proj"), ("database that is not PostgreSQL", "hunter2")):
        old, new, _ = MISTAKES[name]
        text, _ = edited(old, new)
        assert secret not in " ".join(map(str, problems(tmp_path, text)))


def test_missing_key_is_reported_at_its_section(tmp_path: Path) -> None:
    text, line = edited("    upstream: gpt-4o\n", "")
    (problem,) = problems(tmp_path, text)
    assert str(problem) == "models.gpt-4o: 'upstream' is missing"
    assert text.splitlines()[problem.line - 1] == "  gpt-4o:"
    assert problem.line < line


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    names = ["unknown api", "misspelt key", "price per token of an unlisted model", "cycle", "rpm 0", "duplicate alias"]
    text = DEFAULT
    for name in names:
        old, new, _ = MISTAKES[name]
        assert old in text
        text = text.replace(old, new, 1)
    found = problems(tmp_path, text)
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)
    for name in names:
        assert any(MISTAKES[name][2] in str(problem) for problem in found), (name, found)


def test_models_may_name_each_other_because_chains_are_flat(tmp_path: Path) -> None:
    text, _ = edited("fallbacks:\n", "fallbacks:\n  gpt-4o-mini: [gpt-4o]\n")
    file = tmp_path / "proxy.yaml"
    file.write_text(text)
    catalog = load_catalog(file)
    assert "gpt-4o-mini" in catalog.fallbacks["gpt-4o"]
    assert catalog.fallbacks["gpt-4o-mini"] == ["gpt-4o"]


WHOLE_FILES = {
    "empty": (b"", "the file is empty"),
    "only comments": (b"# nothing\n\n", "the file is empty"),
    "a list": (b"- a\n", "must be a mapping"),
    "a word": (b"hello\n", "must be a mapping"),
    "not UTF-8": ("# ok\n# caf\xe9\n".encode("latin-1"), "byte 0xe9 is not UTF-8"),
    "UTF-16": ("providers: {}".encode("utf-16"), "is not UTF-8"),
    "a binary": (b"\x00\x01\x02", "character U+0000 is not allowed"),
    "too deep": (b"[" * 20_000, "nested too deeply"),
    "aliases that grow": (b"a: &a [x, x]\nb: &b [*a, *a]\n", "anchors and aliases"),
    "a huge number": (b"models: " + b"9" * 10_000 + b"\n", "not a number"),
    "not a number": (b"models: !!int abc\n", "not a number"),
}


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_file_that_is_no_configuration(name: str, tmp_path: Path) -> None:
    content, message = WHOLE_FILES[name]
    assert any(message in str(problem) for problem in problems(tmp_path, content))


def test_the_line_of_a_byte_that_is_not_utf8(tmp_path: Path) -> None:
    assert problems(tmp_path, b"# one\n# two\n# \xff\n")[0].line == 3


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + DEFAULT.encode())
    assert load_catalog(file) == load_catalog()


@pytest.mark.parametrize(("make", "message"), [(False, "no such file"), (True, "is a folder")])
def test_file_that_cannot_be_read(make: bool, message: str, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    if make:
        path.mkdir()
    with pytest.raises(CatalogError, match=message):
        load_catalog(path)


def test_numbers_are_read_as_editors_read_them(tmp_path: Path) -> None:
    """YAML 1.1, PyYAML's own, reads 1e-3 as text and 0010 as eight."""
    text, _ = edited("{input: 0.002, output: 0.006}", "{input: 2e-3, output: +6.0E-3}")
    file = tmp_path / "proxy.yaml"
    file.write_text(text.replace("interval_seconds: 300", "interval_seconds: 0010", 1))
    catalog = load_catalog(file)
    assert catalog.models["gpt-4o"].price_per_1k.model_dump() == {"input": 0.002, "output": 0.006}
    assert catalog.health.interval_seconds == 10


def test_an_error_reads_like_a_compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, line = edited("upstream: gpt-4o\n", "upstrem: gpt-4o\n")
    (tmp_path / "proxy.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogError) as caught:
        load_catalog(Path("proxy.yaml"))
    assert f"proxy.yaml:{line}: models.gpt-4o.upstrem: unknown key; did you mean 'upstream'?" in str(caught.value)


def test_project_root_holds_the_configuration() -> None:
    assert (project_root() / "config" / "proxy.yaml").is_file()


def test_a_key_in_a_base_url_is_not_repeated(tmp_path: Path) -> None:
    for url in ("https://llm.example.com/v1?key=AIza-abcdef", "https://me:AIza-abcdef@llm.example.com/v1"):
        content, _ = edited("key_env: OPENAI_API_KEY}", f"key_env: OPENAI_API_KEY, base_url: '{url}'}}")
        assert "AIza" not in "".join(map(str, problems(tmp_path, content)))
