"""Clients that ask and ask through the edge while something happens, and what became of their requests."""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.containers.edge import DOMAIN, Edge

CLIENTS, EVERY_SECONDS = 8, 0.5  # each of so many asks so often: about 16 requests a second
TEXT = "asked all along"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": TEXT}]}


@dataclass(frozen=True)
class Asked:
    """One request. `outcome` is the status, or what kept the client from having one; `cost` what the reply says."""

    sent: float
    ended: float
    outcome: str
    cost: float = 0.0  # USD

    @property
    def served(self) -> bool:
        return self.outcome == "200"


@dataclass
class Asking:
    """What the clients have asked until now; grows while they do."""

    asked: list[Asked] = field(default_factory=list)

    @property
    def served(self) -> int:
        return sum(one.served for one in self.asked)

    @property
    def failed(self) -> list[Asked]:
        return [one for one in self.asked if not one.served]

    def served_since(self, moment: float) -> int:
        """How many requests sent after that moment have been served with none of them failing since."""
        count = 0
        for one in sorted((one for one in self.asked if one.sent > moment), key=lambda one: one.sent):
            count = count + 1 if one.served else 0
        return count

    def outage(self, since: float) -> float:
        """Seconds from a moment until requests were served again for good; 0 where none has failed."""
        if not self.failed:
            return 0.0
        last = max(one.sent for one in self.failed)
        return min((one.ended for one in self.asked if one.served and one.sent > last), default=float("inf")) - since

    def told(self, since: float) -> str:
        kinds = Counter(one.outcome for one in self.failed)
        why = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common())
        slowest = max((one.ended - one.sent for one in self.asked if one.served), default=0.0)
        return (
            f"{len(self.failed)} of {len(self.asked)} requests failed{f' ({why})' if why else ''}, "
            f"served again after {self.outage(since):.1f} s, the slowest took {slowest:.1f} s"
        )


@contextmanager
def asking(edge: Edge, key: str) -> Iterator[Asking]:
    """Clients with a virtual key that ask for chat completions, until the block ends and each has its last answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": f"Bearer {key}", "Host": f"{DOMAIN}:{edge.https_port}"}
    with asking_at(f"https://127.0.0.1:{edge.https_port}", headers, context) as record:
        yield record


@contextmanager
def asking_at(
    base: str,
    headers: dict[str, str],
    verify: ssl.SSLContext | bool = False,
    every: float = EVERY_SECONDS,
    **options: Any,
) -> Iterator[Asking]:
    """`asking` by an address; each client asks `every` so many seconds. `options` are httpx's."""
    record, lock, over = Asking(), threading.Lock(), threading.Event()

    def ask_on(number: int) -> None:
        over.wait(every * number / CLIENTS)
        with httpx.Client(
            base_url=base, headers=headers, verify=verify, timeout=60, trust_env=False, **options
        ) as client:
            while not over.is_set():
                sent, cost = time.monotonic(), 0.0
                try:
                    answer = client.post("/v1/chat/completions", json=ASK)
                    outcome = str(answer.status_code)
                    cost = float(answer.headers.get("x-litellm-response-cost") or 0)
                except httpx.HTTPError as error:
                    outcome = type(error).__name__
                with lock:
                    record.asked.append(Asked(sent, time.monotonic(), outcome, cost))
                over.wait(max(0.0, sent + every - time.monotonic()))

    threads = [threading.Thread(target=ask_on, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield record
    finally:
        over.set()
        for thread in threads:
            thread.join()
