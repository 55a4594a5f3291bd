"""Who runs the tasks of a back-fill: threads of this process, or whatever else takes Arrow tables and gives one back."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from mainstem.features.engines.spaces import Space, space_task
from mainstem.features.steps import Tables

Load = Callable[[], tuple[pa.Table, pa.Table]]
Task = tuple[Space, int, Load]
"""A space, a bucket, and how to get its events and requests: only when its turn has come."""


class Runner(Protocol):
    """Runs tasks in any order. Values do not depend on it."""

    @property
    def workers(self) -> int:
        """How many tasks are under way at once."""
        ...

    def run(self, tables: Tables, tasks: Iterable[Task]) -> Iterator[tuple[Space, int, pa.Table]]:
        """What each task says, as it is done."""
        ...


@dataclass(frozen=True, slots=True)
class Threads:
    """Threads of this process; the kernel does not hold the interpreter's lock."""

    workers: int = os.cpu_count() or 1

    def run(self, tables: Tables, tasks: Iterable[Task]) -> Iterator[tuple[Space, int, pa.Table]]:
        """What each task says, as it is done."""

        def work(task: Task) -> tuple[Space, int, pa.Table]:
            space, bucket, load = task
            return space, bucket, space_task(space, tables, *load())

        waiting: set[Future[tuple[Space, int, pa.Table]]] = set()
        with ThreadPoolExecutor(self.workers) as pool:
            for task in tasks:
                waiting.add(pool.submit(work, task))
                if len(waiting) >= self.workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (one.result() for one in done)
            for one in waiting:
                yield one.result()


def in_order(work: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """What some work says of each item, in their order, a few of them under way at once."""
    if workers <= 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
