"""How this machine reaches what runs on a state folder, and what it is to trust there. Called by the CLI."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy import secrets
from proxy.stack.state import Run, StateDir

if TYPE_CHECKING:
    from proxy.checks import Target

SELF_SIGNED = "secrets/edge/self-signed.pem"  # in the state folder, with its key
PEM_END = "-----END CERTIFICATE-----\n"


def secrets_of(run: Run) -> dict[str, str]:
    return secrets.merge_environment(secrets.read_env_file(Path(run.env_file)))


def target(run: Run, state: StateDir, key: str | None = None) -> Target:
    """The running service as the checks reach it."""
    from proxy.checks import Target

    values = secrets_of(run)
    control = control_of(run, values)
    return Target(
        url=run.url,
        key=key or values[secrets.MASTER_KEY],
        simulator_url=control[0] if control else None,
        control_key=control[1] if control else None,
        address=run.address,
        authority=self_signed_shown(run, state),
    )


def control_of(run: Run, values: dict[str, str]) -> tuple[str, str] | None:
    """URL and key of the double's control calls; None where there is no double, or the edge keeps them out."""
    if run.simulator_url:
        return run.simulator_url, values[secrets.CONTROL_KEY]
    if run.stack == "compose" and run.mode == "double" and run.address is None:
        return run.url, values[secrets.MASTER_KEY]  # the simulator is out of reach; the gateway passes them on
    return None


def self_signed_shown(run: Run, state: StateDir) -> Path | None:
    """The certificate to trust where the edge shows its own, self-signed one; None where it shows another or none."""
    shown = certificate_shown(run)
    return state.certificate if shown is not None and shown == own_certificate(state) else None


def certificate_shown(run: Run) -> bytes | None:
    """The certificate that the edge shows now, DER; None where there is no edge with HTTPS, or it does not answer."""
    url = urlsplit(run.url)
    if run.address is None or url.scheme != "https":
        return None
    try:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((run.address, url.port or 443), timeout=5))
    except (OSError, ValueError):
        return None


def own_certificate(state: StateDir) -> bytes | None:
    try:
        return ssl.PEM_cert_to_DER_cert(state.certificate.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def keep_certificate(state: StateDir) -> None:
    """Puts the self-signed certificate where clients can be pointed at it, without its key."""
    text = (state.root / SELF_SIGNED).read_text(encoding="ascii")
    state.certificate.write_text(text.partition(PEM_END)[0] + PEM_END, encoding="ascii")
