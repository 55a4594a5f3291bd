"""The tasks of a back-fill as Ray tasks: tables go in and come out through Ray's object store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mainstem.base.errors import FeatureError
from mainstem.features.engines.runners import Task
from mainstem.features.engines.spaces import Space, space_task
from mainstem.features.steps import Tables


@dataclass(frozen=True, slots=True)
class RayTasks:
    """Tasks of a Ray cluster, or of this machine where ``address`` is empty.

    Tasks, not Ray Data: what a task gives back is written here, once, so that a task that is run again changes nothing.

    Attributes:
        workers: Tasks under way at once; of a local start also its CPUs.
        address: Of a running cluster, whose machines have this package installed.
    """

    workers: int = 2
    address: str = ""

    def run(self, tables: Tables, tasks: Iterable[Task]) -> Iterator[tuple[Space, int, pa.Table]]:
        """What each task says, as it is done.

        Raises:
            FeatureError: Ray is not installed (``feature-041``), or a task failed more often than Ray tries (``feature-042``).
        """
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            _start(ray, self.workers, self.address)
        try:
            yield from self._run(ray, tables, tasks)
        finally:
            if started:
                ray.shutdown()

    def _run(self, ray: Any, tables: Tables, tasks: Iterable[Task]) -> Iterator[tuple[Space, int, pa.Table]]:
        remote = ray.remote(num_cpus=1, max_retries=3)(space_task)
        beside = ray.put(dict(tables))
        waiting: dict[Any, tuple[Space, int]] = {}
        for space, bucket, load in tasks:
            if len(waiting) >= self.workers:
                yield _next(ray, waiting)
            events, requests = load()
            waiting[remote.remote(space, beside, ray.put(events), ray.put(requests))] = (space, bucket)
        while waiting:
            yield _next(ray, waiting)


def _next(ray: Any, waiting: dict[Any, tuple[Space, int]]) -> tuple[Space, int, pa.Table]:
    done = ray.wait(list(waiting), num_returns=1)[0][0]
    space, bucket = waiting.pop(done)
    try:
        return space, bucket, ray.get(done)
    except ray.exceptions.RayError as error:
        told = str(error).strip().splitlines()
        raise FeatureError(
            f"a Ray task of the back-fill failed: {told[-1] if told else type(error).__name__}",
            code="feature-042",
            status=503,
            hint="start the same job again; the tasks that were done are kept",
        ) from error


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise FeatureError(
            "Ray is not installed, and the back-fill was to run on it",
            code="feature-041",
            hint='pip install "mainstem[ray]", or run it on threads',
        ) from error
    return ray


def _start(ray: Any, workers: int, address: str) -> None:
    if address:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        return
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
