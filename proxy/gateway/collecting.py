"""When Python looks for garbage, and gives memory back. Used by __main__.py.

Python before 3.12 may do so in the middle of setting a context variable, as it allocates there. A finalizer that then
sets another one in the same context frees what is being walked through, and the process dies (python/cpython#148891;
seen under load). There the gateway looks by itself, between two callbacks of its event loop, by Python's own measure of
when it is due.

Once a load is over, what it has left behind is collected, 10 to 70 ms, and goes back to the system; what stays, and
first of all what is there after the start, is put into huge pages.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from itertools import count

from proxy.gateway.pages import put_together
from proxy.memory import give_back

EVERY_SECONDS = 0.1
LOOK_SECONDS = 2.0
EARLY_LOOKS = 15
REST = 0.05
"""The share of a core below which the process is at rest."""
YOUNG = 1
"""The oldest generation in which requests leave garbage."""


huge_pages = False
"""Whether what stays is put into huge pages; proxy.gateway.speed says so."""


def by_hand() -> bool:
    """Whether garbage has to be looked for by `between_callbacks`."""
    return sys.version_info < (3, 12)


async def between_callbacks() -> None:
    """Runs until cancelled, in place of Python's own collecting, which has to be off."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        collect_if_due()


def collect_if_due() -> None:
    """Collects the oldest generation that has come to its threshold, with the younger ones."""
    limits = gc.get_threshold()
    due = [generation for generation, count in enumerate(gc.get_count()) if count > limits[generation] > 0]
    if due:
        gc.collect(due[-1])


async def at_rest() -> None:
    """Runs until cancelled; collects and gives back once in each time of rest, and makes huge pages. Of these there are
    more with each look after the start, as what is shared with copies of the process is left alone."""
    rested, since = False, time.process_time()
    for look in count():
        await asyncio.sleep(LOOK_SECONDS)
        rests = time.process_time() - since < REST * LOOK_SECONDS
        begins = rests and not rested
        if begins:
            give_back(YOUNG)
        if huge_pages and (begins or look < EARLY_LOOKS):
            await asyncio.to_thread(put_together)  # which waits for the kernel, without Python's lock
        rested, since = rests, time.process_time()
