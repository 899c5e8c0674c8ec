"""nginx's configuration as rendered from the catalogue. What it does is proven in tests/containers/test_edge.py."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from proxy.catalog import Catalog, load_catalog
from proxy.render.nginx import nginx_conf, own_errors


def rendered(section: str = "edge", https_port: int = 443, **changes: Any) -> str:
    catalog = load_catalog()
    changed = getattr(catalog, section).model_copy(update=changes)
    return nginx_conf(Catalog.model_validate(catalog.model_copy(update={section: changed})), https_port=https_port)


def test_the_limits_are_the_catalogues() -> None:
    conf = rendered()
    assert "zone=client:10m rate=100r/s;" in conf
    assert "limit_req zone=client burst=500 nodelay;" in conf
    assert "client_max_body_size 10485760;" in conf
    assert "proxy_read_timeout 615s;" in conf
    other = rendered(requests_per_second=7, burst_factor=3)
    assert "rate=7r/s;" in other
    assert "burst=21 nodelay;" in other
    assert "client_max_body_size 1572864;" in rendered("limits", max_body_mb=1.5)
    assert "proxy_read_timeout 45s;" in rendered("limits", request_timeout_seconds=29.5)


def test_redirects_go_to_the_configured_name_whatever_was_asked_for() -> None:
    assert "return 308 https://$host$request_uri;" in rendered()
    assert "return 308 https://llm.example.com:8443$request_uri;" in rendered(domain="llm.example.com", https_port=8443)


def test_only_networks_named_are_let_in() -> None:
    assert "deny" not in rendered()
    conf = rendered(allow=["203.0.113.0/24", "2001:db8::/32"])
    allowed = conf.index("allow 203.0.113.0/24;")
    assert allowed < conf.index("allow 2001:db8::/32;") < conf.index("deny all;") < conf.index("proxy_pass")


def test_paths_are_closed_with_all_below_them() -> None:
    conf = rendered(closed_paths=["/ui"])
    assert re.findall(r"location (?:=|\^~) (\S+) \{\s+return 404;", conf) == ["/ui", "/ui/"]
    assert "return 404;" not in rendered(closed_paths=[])


def test_without_an_issuer_there_is_no_tls() -> None:
    tls = load_catalog().edge.tls.model_copy(update={"issuer": "none"})
    conf = rendered(tls=tls)
    assert "ssl" not in conf.replace("$ssl_protocol", "")
    assert "308" not in conf
    assert "Strict-Transport-Security" not in conf


@pytest.mark.parametrize("status", list(own_errors(load_catalog())))
def test_each_error_is_json_in_three_dialects(status: int) -> None:
    block = re.search(rf"map \$dialect \$body_{status} \{{(.*?)\n    \}}", rendered(), re.S)
    assert block
    bodies = [json.loads(text) for text in re.findall(r"'(.*)';", block[1])]
    assert [set(body) for body in bodies] == [{"error"}, {"type", "error"}, {"error"}]
    assert bodies[2]["error"]["code"] == status
