"""The edge's own certificate, until an authority has issued one. Called by what writes the containers' files."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FILE = "secrets/edge/self-signed.pem"  # in the state folder
VALID = timedelta(days=365)
RENEWED_BEFORE = timedelta(days=60)


def self_signed(root: Path, domain: str | None) -> str:
    """Certificate and key, PEM: those of the state folder `root` where they still serve for `domain`, else new ones.

    Nothing is written. A client that trusts it reaches the edge as `domain`, `localhost` and 127.0.0.1.
    """
    names = [name for name in (domain, "localhost") if name]
    now = datetime.now(timezone.utc)
    try:
        text = (root / FILE).read_text(encoding="ascii")
        certificate = x509.load_pem_x509_certificate(text.encode())
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if found.get_values_for_type(x509.DNSName) == names and certificate.not_valid_after_utc > now + RENEWED_BEFORE:
            return text
    except (OSError, ValueError, x509.ExtensionNotFound):
        pass  # none yet, or none of ours
    return _make(names, now)


def _make(names: list[str], now: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "litellm-local, self-signed")])
    alternatives = [*map(x509.DNSName, names), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # for clients whose clock is behind
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (certificate.public_bytes(serialization.Encoding.PEM) + private).decode("ascii")
