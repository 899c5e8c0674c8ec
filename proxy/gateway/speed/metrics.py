"""Prometheus: the same samples from less work."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any


def make_labels_directly() -> None:
    """A request's labels are an object of 40 fields, made anew for some metrics, each time by going three times through
    the declarations of its fields."""
    from litellm.integrations import prometheus
    from litellm.types.integrations import prometheus as types

    Values = types.UserAPIKeyLabelValues
    declared = fields(Values)
    # what a factory makes is never changed: __post_init__ puts copies in its place
    given = {one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in declared}
    aliases = {alias: name for alias, name in types._USER_API_KEY_LABEL_VALUE_INIT_ALIASES.items() if name in given}

    def init(self: Any, **named: Any) -> None:
        values = self.__dict__
        values.update(given)
        for name, value in named.items():
            if name in given:
                values[name] = value
            elif name in aliases:
                values[aliases[name]] = value
        self.__post_init__()

    def replace(labels: Any, /, **changes: Any) -> Any:
        if type(labels) is not Values or not changes.keys() <= {"rate_limit_type"}:
            return replace_any(labels, **changes)
        new = object.__new__(Values)
        new.__dict__.update(labels.__dict__)
        new.__dict__.update(changes)
        return new

    def model_dump(self: Any) -> dict[str, Any]:
        return {
            **self.__dict__,
            "tags": list(self.tags),
            "custom_metadata_labels": dict(self.custom_metadata_labels),
        }

    replace_any = prometheus.replace
    Values.__init__ = init
    Values.model_dump = model_dump
    prometheus.replace = replace


def leave_gauges_of_the_unlimited_alone() -> None:
    """A key without limits has its series removed from ten gauges of limits at each request, by all their labels,
    whether it ever had limits or not. Here nothing is done for who never had any."""
    from litellm.integrations.prometheus import PrometheusLogger

    set_gauges = PrometheusLogger._set_rate_limit_allowed_and_used_gauges
    limited: set[tuple[Any, ...]] = set()

    def set_rate_limit_allowed_and_used_gauges(self: Any, **named: Any) -> None:
        names, values = self.get_labels_for_metric(named["metric_name"]), named["enum_values"]
        who = (named["metric_name"], named["rate_limit_type"], *[getattr(values, name, None) for name in names])
        if has_limits(self, **named) and len(limited) < _MOST:
            limited.add(who)
        if who in limited or len(limited) == _MOST:
            set_gauges(self, **named)

    def has_limits(
        self: Any, standard_logging_payload: Any, descriptor_key: str, header_rate_limit_type: str, **_: Any
    ) -> bool:
        return all(
            self._get_int_from_v3_rate_limit_headers(
                standard_logging_payload=standard_logging_payload,
                header_name=f"x-ratelimit-{descriptor_key}-{what}-{header_rate_limit_type}",
            )
            is not None
            for what in ("limit", "remaining")
        )

    PrometheusLogger._set_rate_limit_allowed_and_used_gauges = set_rate_limit_allowed_and_used_gauges


_MOST = 10_000
"""Who has limits is remembered up to here; with more, all are left to LiteLLM."""
