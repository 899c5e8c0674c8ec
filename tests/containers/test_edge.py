"""The edge in front of the gateway: TLS, the limit for each address, what is closed, what it does when gateways go."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from proxy.catalog import load_catalog, project_root
from proxy.checks import run_checks
from proxy.render.nginx import nginx_conf
from tests.conftest import until
from tests.containers.edge import DOMAIN, Edge, burst, standing, steady
from tests.containers.engine import STAND_INS, build_stand_ins, docker

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
MEGABYTE = 1024 * 1024
BURST = 500  # of an address at the edge, at 100 requests a second
TRIES = 3


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/models").status_code == 200
    except httpx.HTTPError:
        return False


def test_smoke_checks_pass_over_https(edge: Edge) -> None:
    results = run_checks(edge.target())
    assert [result for result in results if not result.passed and result.name != "fallback"] == []
    assert len(results) >= 37


def test_only_the_edge_is_published(edge: Edge) -> None:
    found = {service: one["NetworkSettings"]["Ports"] for service, one in edge.project.inspect().items()}
    assert {service for service, ports in found.items() if any((ports or {}).values())} == {"edge"}


def test_the_edge_is_confined(edge: Edge) -> None:
    status = dict(line.split(":", 1) for line in edge.project.exec("edge", "cat", "/proc/1/status").splitlines())
    assert set(status["Uid"].split()) & {"0"} == set()
    assert int(status["CapEff"], 16) == 0


# -- TLS ---------------------------------------------------------------------------------------------------


def test_http_is_sent_to_https(edge: Edge) -> None:
    plain = f"http://127.0.0.1:{edge.http_port}"
    for method, host in (("GET", DOMAIN), ("POST", "elsewhere.example")):
        answer = httpx.request(method, f"{plain}/v1/models?a=b", headers={"Host": host}, trust_env=False)
        assert answer.status_code == 308
        assert answer.headers["location"] == f"{edge.url}/v1/models?a=b"
    on_tls_port = httpx.get(f"http://127.0.0.1:{edge.https_port}/ui", trust_env=False)
    assert (on_tls_port.status_code, on_tls_port.headers["location"]) == (308, f"{edge.url}/ui")
    # But for the challenges of an ACME authority, which asks by http.
    challenge = httpx.get(f"{plain}/.well-known/acme-challenge/none", trust_env=False)
    assert (challenge.status_code, challenge.json()["error"]["code"]) == (404, "not_found_here")


def handshake(port: int, version: ssl.TLSVersion) -> str | None:
    """The TLS version agreed on by a client that knows this one only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=DOMAIN) as wrapped:
                return wrapped.version()
        except ssl.SSLError as error:
            return "refused" if "ALERT" in str(error) else str(error)  # an alert is the edge's, not this client's own


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_2_and_1_3_alone_are_spoken(edge: Edge) -> None:
    spoken = {version: handshake(edge.https_port, version) for version in list(ssl.TLSVersion)[2:6]}
    assert spoken == {
        ssl.TLSVersion.TLSv1: "refused",
        ssl.TLSVersion.TLSv1_1: "refused",
        ssl.TLSVersion.TLSv1_2: "TLSv1.2",
        ssl.TLSVersion.TLSv1_3: "TLSv1.3",
    }


def test_http_2_and_hsts(edge: Edge) -> None:
    with edge.client(http2=True) as client:
        for path, status in (("/v1/models", 200), ("/metrics", 404)):
            answer = client.get(path)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", status)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


# -- requests ----------------------------------------------------------------------------------------------


def test_a_stream_arrives_as_it_is_made(edge: Edge) -> None:
    """The first event is here while the double has yet to send the last."""
    timing = {"first_token": 0.1, "tokens_per_second": 5}
    rule = {"when": {"text": "word by word"}, "reply": {"text": "word " * 60, "timing": timing}}
    edge.control("POST", "/rules", rule)
    ask = {**ASK, "stream": True, "messages": [{"role": "user", "content": "word by word"}]}
    with edge.client(http2=True) as client, client.stream("POST", "/v1/chat/completions", json=ask) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        next(lines)
        journal = edge.control("GET", "/journal?text=word%20by%20word")
        assert [call["ended_at"] for call in journal["entries"]] == [None]
        assert list(lines)[-2:] == ["data: [DONE]", ""]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1beta/models/gpt-4o:generateContent"])
def test_a_body_over_the_limit_is_413_in_the_callers_dialect(edge: Edge, path: str) -> None:
    errors = {"messages": ("type", "request_too_large"), "gpt-4o:generateContent": ("code", 413)}
    name, value = errors.get(path.rpartition("/")[2], ("code", "request_too_large"))

    def pieces(megabytes: int):
        for _ in range(megabytes * 16):
            yield b" " * (MEGABYTE // 16)

    with edge.client() as client:
        answer = client.post(path, content=b" " * (10 * MEGABYTE + 1))
        assert answer.status_code == 413
        assert answer.json()["error"][name] == value
        assert "10 MB" in answer.json()["error"]["message"]
        assert answer.headers["content-type"] == "application/json"
        assert client.post("/v1/chat/completions", content=pieces(11)).status_code == 413
        # As large as may be: it is the gateway that has something to say about it.
        assert client.post("/v1/chat/completions", content=b" " * (10 * MEGABYTE)).status_code == 400
    # By curl: httpx does not look for an answer over HTTP/2 while it has more to send.
    command = ["curl", "--silent", "--insecure", "--http2", "--max-time", "20", "--data-binary", "@-"]
    command += ["--write-out", "\n%{http_version} %{http_code}", f"https://127.0.0.1:{edge.https_port}{path}"]
    done = subprocess.run(command, input=b" " * (10 * MEGABYTE + 1), capture_output=True, check=False)
    body, _, outcome = done.stdout.decode().rpartition("\n")
    assert (outcome, json.loads(body)["error"][name]) == ("2 413", value)


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/v1/../metrics", "/_double", "/_double/script"]
)
def test_what_is_the_operators_is_closed(edge: Edge, path: str) -> None:
    with socket.create_connection(("127.0.0.1", edge.https_port), timeout=10) as connection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(connection) as wrapped:
            head = f"GET {path} HTTP/1.1\r\nHost: {DOMAIN}\r\nAuthorization: Bearer {edge.key}\r\n"
            wrapped.sendall(f"{head}Connection: close\r\n\r\n".encode())
            text = b"".join(iter(lambda: wrapped.recv(65536), b"")).decode()
    assert text.startswith("HTTP/1.1 404 ")
    assert json.loads(text.partition("\r\n\r\n")[2])["error"]["code"] == "not_found_here"
    lines = [line for line in edge.log() if line["path"].startswith(("/metrics", "/_double"))]
    assert {(line["status"], line["gateway"]) for line in lines} == {("404", "")}


def test_the_clients_address_is_passed_on_and_no_key_is_logged(edge: Edge) -> None:
    address = edge.inside(
        "c = http.client.HTTPSConnection('edge', context=context)\n"
        "headers = {'X-Forwarded-For': '1.2.3.4', 'User-Agent': 'from-a-container', 'Authorization': 'sk-in-header'}\n"
        "c.request('GET', '/v1/models?key=sk-in-the-query', headers=headers); c.getresponse().read()\n"
        "print(c.sock.getsockname()[0])"
    ).strip()
    with edge.client() as client:
        client.get("/key/sk-in-the-path/regenerate?key=sk-in-the-query")
    line = next(one for one in reversed(edge.log()) if one["agent"] == "from-a-container")
    assert (line["client"], line["path"], line["status"]) == (address, "/v1/models", "401")
    assert line["call_id"]
    logs = edge.project.logs()
    assert f" {line['call_id']} {address}\n" in logs
    assert "/key/sk-.../regenerate" in logs
    assert "sk-in-" not in logs
    assert edge.key not in logs


def test_the_rate_limit_of_an_address(edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    """800 at once, then at once those of another container, then 90 a second."""
    for _ in range(TRIES):
        with standing(edge.https_port, 600) as send_again:  # the other one's time is short
            load = burst(edge.https_port, 800)
            served = load.count(200)
            with capsys.disabled():
                print(f"\n800 answered within {load.seconds:.2f} s: {served} served, {load.count(429)} refused")
            assert load.count(200) + load.count(429) == 800
            # The burst, the first, and what trickles away from the first request read to the last.
            assert BURST + 1 <= served <= BURST + 1 + 100 * load.seconds

            # This address is at its limit; another has all of its own.
            other = edge.inside(
                "from concurrent.futures import ThreadPoolExecutor\n"
                "def ask(_):\n"
                "    c = http.client.HTTPSConnection('edge', context=context)\n"
                "    return [c.request('GET', '/health/liveliness') or (a := c.getresponse()).read() and a.status"
                " for _ in range(40)]\n"
                "print(*sum(ThreadPoolExecutor(8).map(ask, range(8)), []))"
            )
            assert other.split() == ["200"] * 320
            again = send_again()
        if again.count(200) <= BURST:  # the other was served while this one was short of its own
            break
        time.sleep(BURST / 100)  # until all is free again, for another try: the other took as long, on a busy machine
    else:
        pytest.fail("the other address was never served before all of this one's was free again")

    assert again.refused
    head, body = again.refused
    error = {"type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    assert json.loads(body)["error"] == {"message": "Your address sends more than 100 requests per second", **error}
    assert "Retry-After: 1\r\n" in head
    assert "Content-Type: application/json\r\n" in head

    time.sleep(1)  # as it says; a hundred are free then, which 90 a second do not use up
    assert set(steady(edge.https_port, 90, 5).statuses) == {200}


# -- changes -----------------------------------------------------------------------------------------------


def test_addresses_that_are_not_let_in(edge: Edge) -> None:
    def models() -> httpx.Response:
        with edge.client() as client:
            return client.get("/v1/models")

    edge.render(("allow: []", "allow: [203.0.113.0/24]"))
    refused = until("nobody is let in", lambda: (one := models()).status_code != 200 and one, 20)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "address_not_allowed")
    # A certificate is issued all the same: it is the authority that asks.
    challenge = f"http://127.0.0.1:{edge.http_port}/.well-known/acme-challenge/none"
    assert httpx.get(challenge, trust_env=False).status_code == 404
    edge.render()
    until("all are let in", lambda: models().status_code == 200, 20)


@pytest.mark.parametrize(
    "change",
    [
        ("issuer: letsencrypt", "issuer: none"),
        ("[/metrics, /_double]", "[]"),
        ("domain: null", "domain: llm.example.com"),
    ],
)
def test_nginx_takes_what_is_rendered(engine: None, tmp_path: Path, change: tuple[str, str]) -> None:
    build_stand_ins("nginx")
    text = (project_root() / "config" / "proxy.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "proxy.yaml").write_text(text.replace(*change), encoding="utf-8")
    (tmp_path / "nginx.conf").write_text(nginx_conf(load_catalog(tmp_path / "proxy.yaml")), encoding="utf-8")
    tmp_path.chmod(0o755)
    script = "mkdir /tmp/edge && nginx -t -q -c /etc/litellm-local/nginx.conf 2>&1"
    mount = f"{tmp_path}:/etc/litellm-local:ro"
    image = STAND_INS["LITELLM_LOCAL_NGINX_IMAGE"]
    assert docker("run", "--rm", "--volume", mount, "--tmpfs=/tmp", image, "sh", "-c", script) == ""


def test_a_change_of_proxy_yaml_takes_effect_by_itself(edge: Edge) -> None:
    started = edge.project.inspect()["edge"]["State"]["StartedAt"]

    def metrics() -> int:
        with edge.client() as client:
            return client.get("/metrics").status_code

    edge.render(("closed_paths: [/metrics, /_double]", "closed_paths: [/_double]"))
    until("/metrics is open", lambda: metrics() == 200, 20)
    file = edge.project.state / "rendered/nginx/nginx.conf"
    broken = file.with_name("broken.conf")
    broken.write_text(file.read_text().replace("limit_req ", "limit_wreck "))
    broken.chmod(0o444)
    broken.replace(file)
    until("the broken one is refused", lambda: "no good" in edge.project.logs(), 20)
    assert metrics() == 200
    edge.render()
    until("/metrics is closed again", lambda: metrics() == 404, 20)
    assert edge.project.inspect()["edge"]["State"]["StartedAt"] == started


# -- gateways that come and go -----------------------------------------------------------------------------


def test_new_gateways_are_found_and_share_the_requests(edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    with edge.client() as client:
        until("the gateway", lambda: answers(client))
        edge.project.compose("rm", "--stop", "--force", "gateway")
        gone = client.get("/v1/models")
        assert gone.status_code in (502, 504)
        assert gone.json()["error"]["type"] in ("api_error", "timeout_error")
        edge.project.up("--scale", "gateway=2", "gateway")
        began = time.monotonic()
        until("an answer through the edge", lambda: answers(client), 15)
        took = time.monotonic() - began
        assert [client.get("/v1/models").status_code for _ in range(20)] == [200] * 20
        both = edge.gateways()  # one at least of an address that the edge did not know
        assert len(both) == 2
        until("both are asked", lambda: asked_by_20(edge, client) == set(both), 30)

        # One goes without a word. What it had begun has failed, once; what it has not is asked of the other.
        mark = f"take your time {time.time_ns()}"
        rule = {"when": {"text": mark}, "reply": {"text": "Done.", "timing": {"first_token": 25}}}
        edge.control("POST", "/rules", rule)
        slow = {**ASK, "messages": [{"role": "user", "content": mark}]}
        killed = next(iter(both.values()))
        with ThreadPoolExecutor(16) as threads:
            begun = []
            for number in range(1, 17):  # those that come while the edge looks the gateways up all go to the same one
                begun.append(threads.submit(client.post, "/v1/chat/completions", json=slow))
                until(f"{number} under way", lambda number=number: upstream_calls(edge, mark) == number, 20)
            docker("kill", killed)
            answered = [client.post("/v1/chat/completions", json=ASK).status_code for _ in range(30)]
        docker("rm", killed)
        assert answered == [200] * 30
        outcomes = [one.result() for one in begun]
        assert {one.status_code for one in outcomes} == {200, 502}
        assert {one.json()["error"]["type"] for one in outcomes if one.status_code == 502} == {"api_error"}
        assert upstream_calls(edge, mark) == 16
    with capsys.disabled():
        print(f"\nnew gateways, once healthy, served through the edge after {took:.1f} s")


def upstream_calls(edge: Edge, text: str) -> int:
    return len(edge.control("GET", f"/journal?text={quote(text)}")["entries"])


def asked_by_20(edge: Edge, client: httpx.Client) -> set[str]:
    """The addresses of the gateways that twenty requests went to."""
    for _ in range(20):
        assert client.get("/v1/models", headers={"User-Agent": "shared"}).status_code == 200
    found = [one["gateway"] for one in edge.log() if one["agent"] == "shared"]
    return {address.partition(":")[0] for one in found[-20:] for address in one.split(", ")}
