"""nginx's configuration for the edge, from the catalogue. Pure; called by `proxy.render.compose`.

A whole nginx.conf that leans on no image's own: config/nginx/start.sh starts nginx with it and puts the certificate
where it says. The edge's own errors are JSON in the caller's dialect, as the gateway's are.
"""

from __future__ import annotations

import math

from proxy.catalog import Catalog
from proxy.gateway.errors import CLOSED, Dialect, Refusal, error_body

GATEWAY = "gateway:4000"
RESOLVER = "127.0.0.11"  # Docker's own, in every container
CERTIFICATE = "/tmp/edge/certificate.pem"  # noqa: S108 - in a container of its own; chain and key in one file
CHALLENGES = "/var/www/challenges"
HEALTH_PORT = 8080
HSTS_SECONDS = 365 * 24 * 3600
# For the gateway to answer a request that took too long itself: it knows more of it.
MARGIN_SECONDS = 15

DIALECTS: tuple[Dialect, ...] = ("openai", "anthropic", "gemini")


def nginx_conf(catalog: Catalog, *, https_port: int = 443) -> str:
    """`https_port` is the one that clients see, for redirects. Raises ValueError for what nginx cannot quote."""
    tls = catalog.edge.tls.issuer != "none"
    servers = [_health_server(), _redirect_server(catalog, https_port), _tls_server(catalog, https_port)]
    if not tls:
        servers[1:] = [_plain_server(catalog)]
    http = "\n\n".join([_http(catalog, tls), *servers])
    return f"{_head(catalog)}\n\nhttp {{\n{_indented(http)}\n}}\n"


def own_errors(catalog: Catalog) -> dict[int, Refusal]:
    """What the edge answers by itself, by status."""
    limits, edge = catalog.limits, catalog.edge
    rate = f"{edge.requests_per_second} requests per second"
    broken, unavailable = "invalid_request_error", "api_error"
    size = f"The body is larger than the limit of {limits.max_body_mb:g} MB"
    return {
        400: Refusal(400, "This is no request that HTTP knows, or its headers are too large", type=broken),
        403: Refusal(403, "Your address is not let in here", code="address_not_allowed", type="permission_error"),
        404: CLOSED,
        413: Refusal(413, size, code="request_too_large", type=broken),
        414: Refusal(414, "The URL is too long", type=broken),
        429: Refusal(429, f"Your address sends more than {rate}", code="rate_limit_exceeded", type="rate_limit_error"),
        500: Refusal(500, "The edge has failed; its log has the cause", type=unavailable),
        502: Refusal(502, "The gateway does not answer; it may be starting. Try again in a moment", type=unavailable),
        503: Refusal(503, "The edge is overloaded. Try again in a moment", type=unavailable),
        504: Refusal(504, "The gateway gives no answer in time", code="timeout", type="timeout_error"),
    }


def _head(catalog: Catalog) -> str:
    return f"""\
# Rendered from config/proxy.yaml by litellm-local. Edit that file: this one is overwritten.

daemon off;
pid /tmp/edge/nginx.pid;
worker_processes auto;
worker_rlimit_nofile 16384;
worker_shutdown_timeout {_seconds(catalog)};
# Lesser lines repeat whole requests, and some clients put their key into the URL.
error_log stderr crit;

events {{
    worker_connections 4096;
}}"""


def _http(catalog: Catalog, tls: bool) -> str:
    edge, limits = catalog.edge, catalog.limits
    errors = own_errors(catalog)
    seconds = _seconds(catalog)
    lines = [
        "default_type application/json;",
        "server_tokens off;",
        "client_body_temp_path /tmp/edge/body;",
        "proxy_temp_path /tmp/edge/proxy;",
        "fastcgi_temp_path /tmp/edge/fastcgi;",
        "uwsgi_temp_path /tmp/edge/uwsgi;",
        "scgi_temp_path /tmp/edge/scgi;",
        "",
        "# One line a request: no query, no header of the client's but the agent, no key.",
        'map $uri $logged_path { default $uri; "~^(?<before_key>.*)sk-[A-Za-z0-9_.-]+(?<after_key>.*)$" '
        '"${before_key}sk-...${after_key}"; }',
        "log_format edge escape=json '{" + ",".join(f'"{key}":"{value}"' for key, value in _LOGGED.items()) + "}';",
        "access_log /dev/stdout edge;",
        "",
        "# The rate limit of each client.",
        f"limit_req_zone $binary_remote_addr zone=client:10m rate={edge.requests_per_second}r/s;",
        "limit_req_status 429;",
        "limit_req_log_level info;",
        f"client_max_body_size {int(limits.max_body_mb * 1024 * 1024)};",
        "",
        "# The gateway by its name, asked for anew every few seconds: containers come and go, and with several all are",
        "# asked in turn. One that cannot be reached is passed over; what a gateway may have begun is not asked twice.",
        f"resolver {RESOLVER} valid=5s ipv6=off;",
        "resolver_timeout 5s;",
        f'map "" $gateway {{ default "{GATEWAY}"; }}',
        "proxy_next_upstream error timeout;",
        "proxy_next_upstream_tries 4;",
        "proxy_next_upstream_timeout 15s;",
        "proxy_connect_timeout 3s;",
        f"proxy_read_timeout {seconds};",
        f"proxy_send_timeout {seconds};",
        "",
        "# Nothing is held back, neither a stream of events nor an upload.",
        "proxy_http_version 1.1;",
        "proxy_buffering off;",
        "proxy_buffer_size 32k;",  # LiteLLM's headers
        "proxy_buffers 4 32k;",
        "proxy_request_buffering off;",
        "",
        "# What the client says of itself by these headers counts for nothing.",
        "proxy_set_header Host $http_host;",
        'proxy_set_header Connection "";',
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header X-Forwarded-Host $http_host;",
        'proxy_set_header Forwarded "";',
        "",
        "# The edge's own errors, in the shape that the caller's SDK expects.",
        'map $uri $dialect { default openai; "~/v1/messages(/count_tokens)?/?$" anthropic; '
        '"~:(generateContent|streamGenerateContent|countTokens)/?$" gemini; }',
    ]
    for status, refusal in errors.items():
        bodies = {dialect: _quoted(error_body(refusal, dialect).decode()) for dialect in DIALECTS}
        lines.append(f"map $dialect $body_{status} {{")
        lines += [f"    {'default' if dialect == 'openai' else dialect} {body};" for dialect, body in bodies.items()]
        lines.append("}")
    # The gateway's own 429 says itself when to come back.
    lines.append('map "$status:$upstream_status" $own_retry_after { default ""; "429:" 1; }')
    if tls:
        lines += ["", *_tls_lines()]
    return "\n".join(lines)


_LOGGED = {
    "time": "$time_iso8601",
    "client": "$remote_addr",
    "method": "$request_method",
    "path": "$logged_path",
    "protocol": "$server_protocol",
    "tls": "$ssl_protocol",
    "status": "$status",
    "bytes": "$body_bytes_sent",
    "seconds": "$request_time",
    "gateway": "$upstream_addr",
    "gateway_status": "$upstream_status",
    "call_id": "$upstream_http_x_litellm_call_id",
    "agent": "$http_user_agent",
}


def _tls_lines() -> list[str]:
    """Mozilla's intermediate configuration (ssl-config.mozilla.org), less DHE."""
    ciphers = [
        f"ECDHE-{key}-{cipher}"
        for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
        for key in ("ECDSA", "RSA")
    ]
    return [
        "ssl_protocols TLSv1.2 TLSv1.3;",
        f"ssl_ciphers {':'.join(ciphers)};",
        "ssl_session_cache shared:tls:10m;",
        "ssl_session_timeout 1d;",
        "ssl_session_tickets off;",
        "# Through a variable the file is read for each handshake: a new certificate is used as soon as it lies there,",
        "# and no connection is closed for it, as a reload would close those that are idle.",
        f"map $ssl_server_name $certificate {{ default {CERTIFICATE}; }}",
    ]


def _health_server() -> str:
    return f"""\
server {{
    listen 127.0.0.1:{HEALTH_PORT};
    access_log off;
    return 204;
}}"""


def _redirect_server(catalog: Catalog, https_port: int) -> str:
    body = f"""\
listen 80 default_server;
server_name _;

{_challenges()}

location / {{
    return 308 {_https_url(catalog, https_port)};
}}

{_error_locations(catalog)}"""
    return "server {\n" + _indented(body) + "\n}"


def _tls_server(catalog: Catalog, https_port: int) -> str:
    # `http2` is on this line because nginx before 1.25 knows it nowhere else.
    body = f"""\
listen 443 ssl http2 default_server;
server_name _;
ssl_certificate $certificate;
ssl_certificate_key $certificate;
add_header Strict-Transport-Security "max-age={HSTS_SECONDS}" always;
error_page 497 =308 {_https_url(catalog, https_port)};
{_served(catalog)}"""
    return "server {\n" + _indented(body) + "\n}"


def _plain_server(catalog: Catalog) -> str:
    body = f"listen 80 default_server;\nserver_name _;\n{_served(catalog)}"
    return "server {\n" + _indented(body) + "\n}"


def _served(catalog: Catalog) -> str:
    blocks = ["add_header Retry-After $own_retry_after always;"]
    for path in catalog.edge.closed_paths:
        blocks.append(f"location = {path} {{\n    return 404;\n}}\nlocation ^~ {path}/ {{\n    return 404;\n}}")
    access = "".join(f"    allow {network};\n" for network in catalog.edge.allow)
    access += "    deny all;\n" if access else ""
    burst = catalog.edge.requests_per_second * catalog.edge.burst_factor
    blocks += [
        f"location / {{\n{access}    limit_req zone=client burst={burst} nodelay;\n    proxy_pass http://$gateway;\n}}",
        _error_locations(catalog),
    ]
    return "\n\n".join(blocks)


def _challenges() -> str:
    return f"""\
location ^~ /.well-known/acme-challenge/ {{
    root {CHALLENGES};
    default_type text/plain;
}}"""


def _error_locations(catalog: Catalog) -> str:
    lines = [
        f"error_page {status} @{status};\nlocation @{status} {{\n    return {status} $body_{status};\n}}"
        for status in own_errors(catalog)
    ]
    return "\n".join(lines)


def _seconds(catalog: Catalog) -> str:
    return f"{math.ceil(catalog.limits.request_timeout_seconds) + MARGIN_SECONDS}s"


def _https_url(catalog: Catalog, https_port: int) -> str:
    """The address a client is sent to: of the configured name, where there is one, whatever it asked for."""
    port = "" if https_port == 443 else f":{https_port}"
    return f"https://{catalog.edge.domain or '$host'}{port}$request_uri"


def _quoted(text: str) -> str:
    """nginx has no way to write a dollar sign."""
    if "$" in text or "'" in text or "\\" in text:
        raise ValueError(f"nginx cannot quote {text!r}")
    return f"'{text}'"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))
