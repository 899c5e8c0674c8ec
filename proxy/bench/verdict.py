"""What a load says of the machine, in sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.bench.load import Loaded

PER_MODEL = 1000  # requests a minute for each model: what the service promises


@dataclass(frozen=True)
class Used:
    """What the gateway on this machine used: CPU in milliseconds a request, memory in MB."""

    cpu_ms: float | None = None
    memory_mb: float | None = None


def sentences(found: Loaded, models: int, ceiling: float | None) -> list[str]:
    """The verdict first; then what the figures do not say by themselves."""
    minute = found.per_second * 60
    within = "is" if minute >= PER_MODEL else "is not"
    whole = "are" if minute >= PER_MODEL * models else "are not"
    said = [
        f"That is {minute:.0f} requests a minute: {PER_MODEL} a minute for one model {within} within it, "
        f"{PER_MODEL * models} for all {models} at once {whole}."
    ]
    if limited := found.statuses["429"]:
        said.append(
            f"{limited} were told 429: the limit of requests a minute, at work, not a failure. "
            "To measure beyond it, raise limits.requests_per_minute in config/proxy.yaml for the time and start anew."
        )
    if ceiling is not None:
        said.append(
            f"This load client reaches {ceiling:.0f} requests/s at the simulator itself"
            + (": it may be what was measured." if ceiling < 2 * found.per_second else ", so it is not the bound.")
        )
    return said
