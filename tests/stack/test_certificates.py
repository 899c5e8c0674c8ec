"""The edge's own certificate: kept while it serves, made anew when not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from proxy.stack import certificates
from proxy.stack.certificates import FILE, self_signed


def put(root: Path, text: str) -> None:
    (root / FILE).parent.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_text(text, encoding="utf-8")


def test_it_is_kept_while_it_serves(tmp_path: Path) -> None:
    first = self_signed(tmp_path, "llm.example.com")
    assert not list(tmp_path.iterdir())
    put(tmp_path, first)
    assert self_signed(tmp_path, "llm.example.com") == first


@pytest.mark.parametrize("domain", ["other.example.com", None])
def test_another_name_needs_another_one(tmp_path: Path, domain: str | None) -> None:
    put(tmp_path, self_signed(tmp_path, "llm.example.com"))
    made = x509.load_pem_x509_certificate(self_signed(tmp_path, domain).encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [*([domain] if domain else []), "localhost"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["127.0.0.1"]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ä"]
)
def test_what_is_none_is_replaced(tmp_path: Path, text: str) -> None:
    put(tmp_path, text)
    assert "PRIVATE KEY" in self_signed(tmp_path, None)


def test_it_is_renewed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, self_signed(tmp_path, None))
    monkeypatch.setattr(certificates, "RENEWED_BEFORE", certificates.VALID)
    assert self_signed(tmp_path, None) != (tmp_path / FILE).read_text(encoding="utf-8")


def test_a_server_can_use_it_and_a_client_trust_it(tmp_path: Path) -> None:
    put(tmp_path, self_signed(tmp_path, None))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / FILE)
    assert ssl.create_default_context(cafile=str(tmp_path / FILE)).cert_store_stats()["x509_ca"] == 1
