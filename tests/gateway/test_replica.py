"""A replica as config/k8s starts it: its environment, its ConfigMap, a Secret as files; Valkey out of reach."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

from proxy.catalog import project_root
from proxy.database.engine import prepare_engine
from proxy.simulator.client import DoubleClient
from tests.conftest import free_port, until
from tests.render.k8s.rendered import gateway, named_like, one, set_up

SCOPE = "a-replica"
LONGER_THAN_A_VM_WAITS = 18.0  # there, requests under way are given 15 seconds


def replica(stack: Any, folder: Path) -> dict[str, str]:
    """Writes what the pod would mount, and returns its environment: paths and addresses are of this machine."""
    documents = set_up("double")
    config = named_like(documents, "ConfigMap", "litellm-config-")["data"]
    (folder / "proxy.yaml").write_text(config["proxy.yaml"])
    rendered = config["litellm.yaml"].replace("http://simulator:8090", stack.simulator_url)
    (folder / "litellm.yaml").write_text(re.sub(r"\bvalkey$", "127.0.0.1", rendered, flags=re.M).replace("6379", "1"))
    secrets = {
        "DATABASE_URL": stack.database_url,
        "LITELLM_MASTER_KEY": stack.master_key,
        "LITELLM_SALT_KEY": "salt-of-a-test",
        "LITELLM_LOCAL_CONTROL_KEY": stack.control_key,
        "VALKEY_PASSWORD": "of-a-test",
    }
    volumes = one(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]
    [mounted] = [volume["secret"]["items"] for volume in volumes if "secret" in volume]
    data = folder / "secrets" / "..data"
    data.mkdir(parents=True)
    for item in mounted:
        (data / item["key"]).write_text(secrets[item["key"]])
        (folder / "secrets" / item["path"]).symlink_to(f"..data/{item['key']}")
    prepare_engine(folder / "engine", lambda _: None)
    here = {
        "LITELLM_LOCAL_CONFIG": str(folder / "proxy.yaml"),
        "CONFIG_FILE_PATH": str(folder / "litellm.yaml"),
        "LITELLM_LOCAL_SECRETS": str(folder / "secrets"),
        "LITELLM_LOCAL_SIMULATOR": stack.simulator_url,
        "LITELLM_LOCAL_HOST": "127.0.0.1",
        "LITELLM_LOCAL_PORT": str(free_port()),
        "LITELLM_LOCAL_ENGINE": str(folder / "engine"),
        "PYTHONPATH": str(project_root()),
    }
    given = {entry["name"]: entry["value"] for entry in gateway(documents)["env"]}
    return {**{name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}, **given, **here}


def test_it_serves_and_ends_a_long_request_when_told_to_stop(stack, tmp_path) -> None:
    environment = replica(stack, tmp_path)
    url = f"http://127.0.0.1:{environment['LITELLM_LOCAL_PORT']}"
    command = [sys.executable, *gateway(set_up())["command"][1:], "gateway"]
    log = tmp_path / "gateway.log"
    with (
        log.open("wb") as output,
        DoubleClient(stack.simulator_url, stack.control_key, SCOPE) as double,
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
    ):
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=project_root())
        try:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()[-3000:]
                try:
                    return client.get("/health/readiness").status_code == 200
                except httpx.HTTPError:
                    return False

            until("ready", ready, 120)
            headers = {"Authorization": f"Bearer {stack.master_key}", "x-double-scope": SCOPE}
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "slowly, please"}]}
            assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200

            timing = {"first_token": LONGER_THAN_A_VM_WAITS}
            double.add_rules({"when": {"text": "slowly"}, "reply": {"text": "Here I am.", "timing": timing}})
            answers: list[httpx.Response] = []

            def ask() -> None:
                answers.append(httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=120))

            asking = threading.Thread(target=ask)
            asking.start()
            until("the long one has reached the provider", lambda: len(double.calls()) == 2)
            process.send_signal(signal.SIGTERM)
            asking.join(120)
            assert answers[0].status_code == 200, answers[0].text
            assert answers[0].json()["choices"][0]["message"]["content"] == "Here I am."
            assert process.wait(60) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        finally:
            process.kill()
            process.wait()
            double.forget()
