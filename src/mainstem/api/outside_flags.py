"""An outside feature flag that splits units: asked off the event loop, within a time, and kept for a declared one.

What cannot be asked in time puts the unit into no arm for a moment. So a dead flag service exposes nobody, and a hung one costs a
request one wait and the server a few threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Final

from mainstem.base.settings import Serve
from mainstem.launch.assignment import TREATMENT
from mainstem.launch.openfeature import Allotted, OutsideArms, provided

THREADS: Final = 8
"""Flags that may be asked at once in one process."""
UNITS: Final = 100_000
"""Answers that are kept; the one that was given longest ago is forgotten first."""
FAILED_S: Final = 1.0
"""How long a failed answer stands before the flag is asked for that unit again."""
TOLD_S: Final = 60.0
"""How long failures are told in health."""
LATEST: Final = 2_000
"""Units, the last that were asked for, whose answers say where a flag stands."""
LEAST: Final = 100
"""Fewer units say nothing of a flag's share."""

Ask = Callable[[str, str], Allotted]
"""What a flag says of a unit; never raises."""


class OutsideFlags:
    """Arms that an outside provider gives, kept by flag and unit. Belongs to the event loop.

    Args:
        ask: Asks the provider; may wait.
        wait_s: How long a request waits for it; 0 asks on the event loop.
        keep_s: How long an answer holds.
        end: What ends the provider.
        monotonic: Seconds that only go forward.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        wait_s: float = 0.02,
        keep_s: float = 60.0,
        end: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._wait_s, self._keep_s, self._end, self._monotonic = ask, wait_s, keep_s, end, monotonic
        self._known: OrderedDict[tuple[str, int], tuple[float, Allotted]] = OrderedDict()
        self._asked: dict[tuple[str, int], asyncio.Future[Allotted]] = {}
        self._failed: deque[tuple[float, str, str]] = deque(maxlen=1_000)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="flags") if wait_s > 0 else None

    @classmethod
    def of(cls, serve: Serve) -> OutsideFlags | None:
        """Those of the provider that the settings name; None where they name none.

        Raises:
            LaunchError: There is no such provider (``launch-132``).
        """
        if not serve.flags:
            return None
        client, end = provided(serve.flags)
        return cls(OutsideArms(client).ask, wait_s=serve.flags_wait_ms / 1e3, keep_s=serve.flags_keep_s, end=end)

    def known(self, flag: str, unit: int) -> Allotted | None:
        """The answer that still holds; None when the flag must be asked."""
        found = self._known.get((flag, unit))
        return found[1] if found is not None and self._monotonic() < found[0] else None

    async def ask(self, flag: str, unit: int, named: str) -> Allotted:
        """Asks for a unit, and keeps the answer, be it that there was none.

        Args:
            flag: Its key.
            unit: The unit's number.
            named: The unit as the provider knows it, its targeting key.
        """
        if self._pool is None:
            return self._keep(flag, unit, self._ask(flag, named))
        key = (flag, unit)
        asked = self._asked.get(key)
        if asked is None:
            if len(self._asked) >= THREADS:
                return self._keep(flag, unit, Allotted(None, f"{THREADS} units wait for flags already"))
            asked = asyncio.get_running_loop().run_in_executor(self._pool, self._ask, flag, named)
            self._asked[key] = asked
            asked.add_done_callback(lambda done: self._answered(key, done))
        done, _ = await asyncio.wait([asked], timeout=self._wait_s)
        if done:
            return asked.result()
        return self._keep(flag, unit, Allotted(None, f"no answer within {self._wait_s * 1e3:g} ms"))

    def health(self) -> list[str]:
        """Which flags failed lately, in words."""
        since = self._monotonic() - TOLD_S
        lately = [one for one in self._failed if one[0] >= since]
        last = {flag: why for _, flag, why in lately}
        counts = {flag: sum(flag == one for _, one, _ in lately) for flag in last}
        return [
            f"flag {flag!r} failed {counts[flag]} times in the last minute, and put those units in no arm: {why}"
            for flag, why in sorted(last.items())
        ]

    def step(self, flag: str, share: float) -> str:
        """Does a flag stand at another step than the book? In words; empty when it does not, or too few were asked.

        Told is a share of the last units that is four standard deviations and a hundredth away from the step's.
        """
        since = self._monotonic() - TOLD_S
        latest = islice(reversed(self._known.items()), LATEST)
        arms = [told.arm for (of, _), (until, told) in latest if of == flag and until > since and not told.failed]
        if len(arms) < LEAST:
            return ""
        found = arms.count(TREATMENT) / len(arms)
        if abs(found - share) <= 0.01 + 4 * (share * (1 - share) / len(arms)) ** 0.5:
            return ""
        return f"flag {flag!r} gives the new stack to {found:.1%} of the last {len(arms)} units, the step is {share:g}"

    def close(self) -> None:
        """Ends the provider and the threads; what they wait for ends by the provider's own limits."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):  # another's code, at the very end
            self._end()

    def _answered(self, key: tuple[str, int], done: asyncio.Future[Allotted]) -> None:
        """An answer that came too late for its request still holds for the next one."""
        self._asked.pop(key, None)
        if not done.cancelled() and done.exception() is None:
            self._keep(*key, done.result())

    def _keep(self, flag: str, unit: int, told: Allotted) -> Allotted:
        now = self._monotonic()
        if told.failed:
            self._failed.append((now, flag, told.failed))
        self._known.pop((flag, unit), None)
        self._known[flag, unit] = (now + (FAILED_S if told.failed else self._keep_s), told)
        if len(self._known) > UNITS:
            self._known.popitem(last=False)
        return told
