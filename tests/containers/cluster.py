"""What a cluster makes of the rendered manifests, done with containers: pods as they are specified, the kubelet's
probes, a Service's endpoints, and nginx with the Ingress' limits before them. Images are the stand-ins."""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets as random
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import free_port, until
from tests.containers.engine import GATEWAY_IMAGE, STAND_IN, docker, docker_output, run_docker
from tests.render.k8s.rendered import named_like, one, set_up

TICK_SECONDS = 0.2


@dataclass(eq=False)
class Pod:
    """A container and what its kubelet knows of it. `ready` is what the Service goes by."""

    name: str
    container: str
    address: str
    spec: dict[str, Any]
    started: float
    ready: bool = False
    leaving: bool = False
    up: bool = False
    restarts: int = 0
    last_probe: dict[str, float] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


class Cluster:
    """One namespace: the set-up `double`. `changes` are made to the gateways' proxy.yaml as it is rendered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"litellm-test-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.documents = set_up("double", image=GATEWAY_IMAGE)
        self.pods: list[Pod] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._routing = threading.Lock()  # two pods that change at once are both in what is written last
        self._over = threading.Event()
        password = random.token_urlsafe(12)
        self.secrets = {
            "DATABASE_URL": f"postgresql://litellm:{password}@postgres-service:5432/litellm",
            "POSTGRES_PASSWORD": password,
            **{name: f"sk-{random.token_urlsafe(16)}" for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY")},
            **{name: random.token_urlsafe(12) for name in ("LITELLM_LOCAL_CONTROL_KEY", "VALKEY_PASSWORD")},
        }
        self.stores: dict[str, str] = {}
        docker("network", "create", self.name)
        self._kubelet = threading.Thread(target=self._watch, daemon=True)

    # What `kubectl apply` starts

    def apply(self) -> str:
        """Stores, simulator, migration and replicas, all at once; the migration's container, which has ended well."""
        self.stores["postgres"] = self._run(one(self.documents, "StatefulSet", "postgres"), "postgres-service")
        for name in ("valkey", "simulator"):
            self.stores[name] = self._run(one(self.documents, "Deployment", name), name)
        self._kubelet.start()
        self._start_ingress()
        job = named_like(self.documents, "Job", "litellm-migrate-")
        migration = self._run(job, "migrate")
        self.scale(one(self.documents, "Deployment")["spec"]["replicas"], wait=False)
        until("the migration has ended", lambda: self._tried_again(migration), 180)
        return migration

    def _tried_again(self, job: str) -> bool:
        """Whether a Job's container has ended well; `restartPolicy: OnFailure` starts it again where it has not."""
        state = json.loads(docker("inspect", job))[0]["State"]
        if state["Running"]:
            return False
        if state["ExitCode"]:
            docker("start", job)
        return not state["ExitCode"]

    def scale(self, replicas: int, wait: bool = True) -> None:
        """To so many gateways; those that go are told to stop as a kubelet tells them."""
        staying = [pod for pod in self.pods if not pod.leaving]
        for number in range(len(staying), replicas):
            self._add()
            if wait and (number - len(staying)) % 2:  # as the autoscaler: two more, then it looks again
                self.wait_ready(number + 1)
        going = [threading.Thread(target=self.delete, args=(pod,)) for pod in staying[replicas:]]
        for thread in going:
            thread.start()
        if wait:
            self.wait_ready(replicas)
        for thread in going:
            thread.join()

    def wait_ready(self, replicas: int, seconds: float = 300) -> None:
        until(f"{replicas} replicas are ready", lambda: len(self.endpoints()) == replicas, seconds)

    def roll(self) -> None:
        """`kubectl rollout restart`: one more at a time, never one fewer."""
        rolling = one(self.documents, "Deployment")["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}
        old = [pod for pod in self.pods if not pod.leaving]
        for pod in old:
            new = self._add()
            until(f"{new.name} is ready", lambda new=new: new.ready, 300)
            self.delete(pod)

    def delete(self, pod: Pod) -> None:
        """Out of the Service, preStop, SIGTERM, and SIGKILL where the grace period is over."""
        with self._lock:
            pod.leaving = True
        self._route()
        sleep = pod.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        self._over.wait(sleep)
        docker("stop", "--time", str(pod.spec["terminationGracePeriodSeconds"] - sleep), pod.container, timeout=700)
        with self._lock:
            self.pods.remove(pod)
        docker("rm", "--force", pod.container)

    def endpoints(self) -> list[Pod]:
        with self._lock:
            return [pod for pod in self.pods if pod.ready and not pod.leaving]

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or self.secrets['LITELLM_MASTER_KEY']}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sql(self, query: str) -> list[list[str]]:
        """Rows of a query, as text."""
        command = (
            "psql",
            "--no-psqlrc",
            "-h",
            "127.0.0.1",
            "-U",
            "litellm",
            "-d",
            "litellm",
            "-AtF",
            "\t",
            "-c",
            query,
        )
        password = f"PGPASSWORD={self.secrets['POSTGRES_PASSWORD']}"
        return [
            line.split("\t") for line in docker("exec", "-e", password, self.stores["postgres"], *command).splitlines()
        ]

    def logs(self) -> str:
        return "\n".join(docker_output("logs", "--tail", "60", pod.container) for pod in self.pods)

    def close(self) -> None:
        self._over.set()
        if self._kubelet.ident is not None:
            self._kubelet.join()
        label = f"label=cluster={self.name}"
        containers = docker("ps", "--all", "--quiet", "--filter", label).split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        docker("network", "rm", self.name)

    # Pods

    def _add(self) -> Pod:
        manifest = one(self.documents, "Deployment")
        name = f"{self.name}-gateway-{next(self._numbers)}"
        container = self._run(manifest, "litellm", name)
        pod = Pod(name, container, self._address(container), manifest["spec"]["template"]["spec"], time.monotonic())
        with self._lock:
            self.pods.append(pod)
        return pod

    def _address(self, container: str) -> str:
        found = json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"][self.name]
        return str(found["IPAddress"])

    def _run(self, manifest: dict[str, Any], alias: str, name: str | None = None) -> str:
        """The container of a manifest's pod template; it is not started again by Docker."""
        spec = manifest["spec"]["template"]["spec"]
        [container] = spec["containers"]
        name = name or f"{self.name}-{alias}"
        user = spec["securityContext"]
        command = ["run", "--detach", "--name", name, "--label", f"cluster={self.name}", "--network", self.name]
        command += ["--network-alias", alias, "--user", f"{user['runAsUser']}:{user['runAsGroup']}"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        command += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        command += ["--memory", container["resources"]["limits"]["memory"].replace("i", "").lower()]
        for entry in container.get("env", []):
            command += ["--env", f"{entry['name']}={entry['value']}"]
        claims = {one["metadata"]["name"] for one in manifest["spec"].get("volumeClaimTemplates", [])}
        for mount in container["volumeMounts"]:
            command += self._volume(name, spec, mount, claims)
        start = [*container.get("command", []), *container.get("args", [])]
        images = {"postgres:16": f"{STAND_IN}/postgres:test", "valkey/valkey:8": f"{STAND_IN}/valkey:test"}
        command += ["--entrypoint", start[0], images.get(container["image"], container["image"]), *start[1:]]
        return docker(*command).strip()

    def _volume(self, pod: str, spec: dict[str, Any], mount: dict[str, Any], claims: Iterable[str]) -> list[str]:
        where, group = mount["mountPath"], spec["securityContext"]["fsGroup"]
        folder = self.folder / pod / mount["name"]
        if mount["name"] in claims:
            folder.mkdir(parents=True)
            os.chown(folder, spec["securityContext"]["runAsUser"], group)
            return ["--volume", f"{folder}:{where}"]
        [volume] = [one for one in spec["volumes"] if one["name"] == mount["name"]]
        if "emptyDir" in volume:
            return ["--tmpfs", f"{where}:mode=1777"]
        if "configMap" in volume:
            files = one(self.documents, "ConfigMap", volume["configMap"]["name"])["data"]
            mode = 0o444
        else:
            files = {item["path"]: self.secrets[item["key"]] for item in volume["secret"]["items"]}
            mode = volume["secret"]["defaultMode"]
        folder.mkdir(parents=True)
        for name, content in files.items():
            file = folder / name
            file.write_text(content)
            os.chown(file, 0, group)
            file.chmod(mode)
        for place in (folder, folder.parent):
            place.chmod(0o755)
        return ["--volume", f"{folder}:{where}:ro"]

    # The kubelet

    def _watch(self) -> None:
        probing: dict[Pod, threading.Thread] = {}
        while not self._over.wait(TICK_SECONDS):
            with self._lock:
                pods = list(self.pods)
            for pod in pods:
                if pod not in probing or not probing[pod].is_alive():
                    probing[pod] = threading.Thread(target=self._look_after, args=(pod,), daemon=True)
                    probing[pod].start()
        for thread in probing.values():
            thread.join()

    def _look_after(self, pod: Pod) -> None:
        """As the kubelet does: startup first, then liveness and readiness; a dead container is started again."""
        container = pod.spec["containers"][0]
        if (
            not pod.leaving
            and run_docker("inspect", "-f", "{{.State.Running}}", pod.container).stdout.strip() == "false"
        ):
            self._restart(pod)
        if not pod.up:
            if self._due(pod, "startupProbe") and self._probe(pod, container["startupProbe"]):
                pod.up = True
            return
        if self._due(pod, "readinessProbe"):
            self._set_ready(pod, self._probe(pod, container["readinessProbe"]))
        if self._due(pod, "livenessProbe"):
            alive = self._probe(pod, container["livenessProbe"])
            pod.failures["livenessProbe"] = 0 if alive else pod.failures.get("livenessProbe", 0) + 1
            if pod.failures["livenessProbe"] >= container["livenessProbe"]["failureThreshold"] and not pod.leaving:
                run_docker("kill", pod.container)
                self._restart(pod)

    def _due(self, pod: Pod, kind: str) -> bool:
        probe, now = pod.spec["containers"][0][kind], time.monotonic()
        last = pod.last_probe.get(kind, pod.started + probe.get("initialDelaySeconds", 0) - probe["periodSeconds"])
        if now < last + probe["periodSeconds"]:
            return False
        pod.last_probe[kind] = now
        return True

    @staticmethod
    def _probe(pod: Pod, probe: dict[str, Any]) -> bool:
        with suppress(httpx.HTTPError):
            path = f"http://{pod.address}:4000{probe['httpGet']['path']}"
            return 200 <= httpx.get(path, timeout=probe["timeoutSeconds"], trust_env=False).status_code < 400
        return False

    def _set_ready(self, pod: Pod, ready: bool) -> None:
        if ready != pod.ready:
            pod.ready = ready
            self._route()

    def _restart(self, pod: Pod) -> None:
        self._set_ready(pod, False)
        docker("start", pod.container)
        pod.address = self._address(pod.container)
        pod.started, pod.up, pod.restarts = time.monotonic(), False, pod.restarts + 1
        pod.last_probe.clear()
        pod.failures.clear()

    # The Ingress

    def _start_ingress(self) -> None:
        (self.folder / "nginx").mkdir()
        self._write_nginx()
        self.ingress = docker(
            *("run", "--detach", "--name", f"{self.name}-ingress", "--label", f"cluster={self.name}"),
            *("--network", self.name, "--publish", f"127.0.0.1:{self.port}:8080", "--user", "0:0"),
            *("--volume", f"{self.folder / 'nginx'}:/ingress:ro", "--tmpfs", "/tmp"),  # noqa: S108 - in a container
            *("--entrypoint", "nginx", f"{STAND_IN}/nginx:test", "-c", "/ingress/nginx.conf", "-g", "daemon off;"),
        ).strip()

    def _route(self) -> None:
        with self._routing:
            self._write_nginx()
            docker("kill", "--signal", "HUP", self.ingress)

    def nginx_takes_over(self) -> bool:
        """Whether nginx is between two configurations: for a tenth of a second after the new worker has begun, the old
        one takes connections as well, and sends them where it always did."""
        titles = docker("top", self.ingress, "-eo", "pid,args").splitlines()
        return sum(title.rstrip().endswith("nginx: worker process") for title in titles) > 1

    def _write_nginx(self) -> None:
        """ingress-nginx' directives for what the Ingress' annotations ask for; its endpoints are the ready pods."""
        asked = {
            name.partition("/")[2]: value
            for name, value in one(self.documents, "Ingress")["metadata"]["annotations"].items()
        }
        burst = int(asked["limit-rps"]) * int(asked["limit-burst-multiplier"])
        servers = (
            "".join(f"server {pod.address}:4000 max_fails=0;" for pod in self.endpoints()) or "server 127.0.0.1:9;"
        )
        text = f"""
            worker_processes 1; pid /tmp/nginx.pid; error_log /dev/stderr warn;
            events {{ worker_connections 4096; }}
            http {{
              access_log off;
              client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/f;
              uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
              limit_req_zone $binary_remote_addr zone=rps:5m rate={asked["limit-rps"]}r/s;
              limit_req_status 429;
              upstream service {{ {servers} keepalive 320; }}
              server {{
                listen 8080;
                location / {{
                  limit_req zone=rps burst={burst} nodelay;
                  client_max_body_size {asked["proxy-body-size"]};
                  proxy_connect_timeout {asked["proxy-connect-timeout"]}s;
                  proxy_read_timeout {asked["proxy-read-timeout"]}s;
                  proxy_send_timeout {asked["proxy-send-timeout"]}s;
                  proxy_buffering {asked["proxy-buffering"]};
                  proxy_request_buffering {asked["proxy-request-buffering"]};
                  proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_set_header X-Forwarded-For $remote_addr;
                  proxy_next_upstream error timeout; proxy_next_upstream_tries 3;
                  proxy_pass http://service;
                }}
              }}
            }}"""
        file = self.folder / "nginx" / "nginx.conf"
        file.with_suffix(".new").write_text(re.sub(r"^ {12}", "", text, flags=re.M))
        file.with_suffix(".new").replace(file)
