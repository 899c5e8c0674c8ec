"""LiteLLM ignores a key it does not know without a word: every rendered key is one the installed version reads.

Its source is parsed rather than imported, which takes many seconds.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from proxy.catalog import load_catalog
from proxy.render.litellm import litellm_config, litellm_environment

CONFIG = litellm_config(load_catalog(), valkey="valkey")


@lru_cache
def source(name: str, package: str = "litellm") -> str:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / name).read_text(encoding="utf-8")


def class_body(name: str, class_name: str) -> list[ast.stmt]:
    found = [n for n in ast.walk(ast.parse(source(name))) if isinstance(n, ast.ClassDef) and n.name == class_name]
    assert found, f"{class_name} is gone from {name}"
    return found[0].body


def fields(name: str, class_name: str) -> set[str]:
    statements = class_body(name, class_name)
    return {s.target.id for s in statements if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}


def parameters(name: str, class_name: str, method: str) -> set[str]:
    statements = class_body(name, class_name)
    (found,) = (s for s in statements if isinstance(s, ast.FunctionDef) and s.name == method)
    return {argument.arg for argument in found.args.args + found.args.kwonlyargs}


def module_names(name: str) -> set[str]:
    statements = ast.parse(source(name)).body
    names = {t.id for s in statements if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)}
    names |= {s.target.id for s in statements if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}
    return names | {alias.name for s in statements if isinstance(s, ast.ImportFrom) for alias in s.names}


def texts(name: str, package: str = "litellm") -> set[str]:
    nodes = ast.walk(ast.parse(source(name, package)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_router_settings() -> None:
    assert set(CONFIG["router_settings"]) <= parameters("router.py", "Router", "__init__")


def test_pre_call_checks() -> None:
    assert set(CONFIG["router_settings"]["optional_pre_call_checks"]) <= texts("types/router.py")


def test_litellm_settings() -> None:
    """Attributes of the module `litellm`, set by name; a wrong name makes a new attribute that nobody reads."""
    assert set(CONFIG["litellm_settings"]) <= module_names("__init__.py")


def test_metrics_settings() -> None:
    """LiteLLM does not start with a label or a metric that it does not know."""
    names = texts("types/integrations/prometheus.py")
    settings = CONFIG["litellm_settings"]
    assert {*settings["prometheus_exclude_labels"], *settings["prometheus_exclude_metrics"]} <= names


def test_general_settings() -> None:
    declared = fields("proxy/_types.py", "ConfigGeneralSettings")
    undeclared = {"proxy_batch_write_at", "store_model_in_db", "disable_model_info_refresh"}
    assert set(CONFIG["general_settings"]) - undeclared <= declared
    assert undeclared <= texts("proxy/proxy_server.py")


def test_coordination_redis() -> None:
    assert set(CONFIG["general_settings"]["coordination_redis"]) <= fields("proxy/_types.py", "CoordinationRedisParams")


def test_litellm_params() -> None:
    known = fields("types/router.py", "LiteLLMParamsTypedDict")
    for deployment in CONFIG["model_list"]:
        # temperature is a parameter of the request; LiteLLM merges it in where the client sends none.
        assert set(deployment["litellm_params"]) - {"temperature"} <= known


def test_model_info() -> None:
    read = texts("proxy/health_check.py") | texts("router.py")
    for deployment in CONFIG["model_list"]:
        assert set(deployment["model_info"]) <= read


def test_fallback_entries() -> None:
    assert 'kwargs.pop("disable_fallbacks"' in source("router.py")


@pytest.mark.parametrize("name", litellm_environment(load_catalog()))
def test_environment(name: str) -> None:
    files = (
        "__init__.py",
        "constants.py",
        "litellm_core_utils/get_blog_posts.py",
        "litellm_core_utils/get_model_cost_map.py",
        "anthropic_beta_headers_manager.py",
        "proxy/auth/login_utils.py",
        "proxy/management_endpoints/policy_endpoints/endpoints.py",
        "proxy/proxy_server.py",
        "proxy/public_endpoints/public_endpoints.py",
        "proxy/utils.py",
    )
    elsewhere = texts("litellm_core_utils/bug_report.py") | texts("metrics.py", "prometheus_client")
    assert name in elsewhere or any(f'getenv("{name}"' in source(file) for file in files)
