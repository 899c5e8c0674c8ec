"""The plugin, used in small projects that pytest's own `pytester` makes."""

from __future__ import annotations

from importlib.metadata import entry_points

# Where the installed package is older than the entry point, the plugin is named; both at once is an error of pytest's.
_INSTALLED = any(point.name == "llm_double" for point in entry_points(group="pytest11"))
PLUGIN: tuple[str, ...] = () if _INSTALLED else ("-p", "proxy.pytest_plugin")
