"""Spend: rows that nobody gets are not computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def skip_savings_of_nothing() -> None:
    """What caches, compression and the auto-router saved is computed from prices, with two copies of the request's
    usage, for each row of daily spend. Where none of them had a part in a request it is 0."""
    from litellm.proxy.db import db_spend_update_writer as writer
    from litellm.proxy.spend_tracking.savings import SavingsSpend

    compute = writer.compute_savings_spend
    nothing = SavingsSpend(0.0, 0.0, 0.0, 0.0)

    def compute_savings_spend(**named: Any) -> Any:
        had_a_part = (
            named["compression_saved_tokens"] > 0
            or named.get("routing_decision")
            or named.get("recorded_autorouter_savings") is not None
            or named.get("recorded_autorouter_savings_estimate") is not None
            or uses_a_cache(named.get("usage_object"))
        )
        return compute(**named) if had_a_part else nothing

    def uses_a_cache(usage: Any) -> bool:
        if not isinstance(usage, Mapping):
            return bool(usage)
        return any(
            uses_a_cache(value) if isinstance(value, Mapping) else value and "cache" in name
            for name, value in usage.items()
        )

    writer.compute_savings_spend = compute_savings_spend
