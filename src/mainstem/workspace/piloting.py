"""The pilots of a serving workspace: one process beside the server flies every launch that has not ended.

A process of its own, so that no bound it computes takes time from a request; it keeps nothing, so its death loses nothing.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from mainstem.base.errors import MainstemError
from mainstem.launch.pilot import Pilot
from mainstem.workspace.launching import launches_under_way, pilot_of
from mainstem.workspace.layout import Workspace

LOG = logging.getLogger("mainstem.pilots")
SLICE_S: Final = 0.5
"""How soon it is seen that the server has ended."""
IDLE_S: Final = 5.0
"""How soon a launch that was started is seen by a server that had none."""
AGAIN_S: Final = 5.0
"""How long a pilots' process that died is not started again."""


class Pilots:
    """Every launch of a workspace that has not ended, each by its own pilot.

    Args:
        workspace: Whose.
        every_s: Seconds between two passes; seats are kept over them.
    """

    def __init__(self, workspace: Workspace, every_s: float = 10.0) -> None:
        self._workspace, self._every_s = workspace, every_s
        self._flying: dict[str, Pilot] = {}
        self._refused: dict[str, str] = {}

    def once(self) -> bool:
        """One pass over every launch; one that cannot be flown is said once and tried again. False when none is under way."""
        under_way = launches_under_way(self._workspace)
        for name in under_way:
            try:
                pilot = self._flying.get(name) or pilot_of(self._workspace, name)
                self._flying[name] = pilot
                pilot.keep(self._every_s)
                pilot.once(pilot.sit())
                self._refused.pop(name, None)
            except MainstemError as error:
                if self._refused.get(name) != error.code:
                    LOG.warning("launch %s is not flown: %s", name, error)
                self._refused[name] = error.code
        return bool(under_way)

    def rise(self) -> None:
        """Gives every seat back."""
        for pilot in self._flying.values():
            try:
                pilot.book.rise(pilot.sit())
            except MainstemError as error:
                LOG.info("the seat of %s was not given back: %s", pilot.plan.name, error)


def fly(folder: Path, every_s: float, stop: Event) -> None:
    """The main function of the pilots' process; it ends with its server, however that ends, and when no launch is under way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told: list[int] = []  # a handler may not touch a lock that the loop may hold just then
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    server = os.getppid()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    pilots = Pilots(Workspace.open(folder), every_s)

    def ends() -> bool:
        return bool(told) or stop.is_set() or os.getppid() != server

    while not ends():
        try:
            if not pilots.once():
                break
        except MainstemError as error:
            LOG.warning("the book of launches could not be read; trying again: %s", error)
        until = time.monotonic() + every_s
        while not ends() and (left := until - time.monotonic()) > 0:
            stop.wait(min(left, SLICE_S))
    pilots.rise()


def _any_under_way(workspace: Workspace) -> bool:
    try:
        return bool(launches_under_way(workspace))
    except MainstemError as error:
        LOG.warning("the book of launches could not be read; trying again: %s", error)
        return False


@contextmanager
def piloted(folder: Path, every_s: float) -> Iterator[None]:
    """While it is open, a process flies the launches under way; one that dies is replaced. None at all when ``every_s`` is 0."""
    if every_s <= 0:
        yield
        return
    context = multiprocessing.get_context("spawn")
    stop, ended = context.Event(), threading.Event()

    def keep() -> None:
        workspace = Workspace.open(folder)
        while not ended.is_set():
            if not _any_under_way(workspace):
                ended.wait(min(every_s, IDLE_S))
                continue
            process = context.Process(target=fly, args=(folder, every_s, stop), name="pilots", daemon=True)
            process.start()
            while process.is_alive() and not ended.is_set():
                process.join(0.5)
            if ended.is_set():
                process.join(10.0)
                process.kill()
            elif process.exitcode:
                LOG.error("the pilots' process ended with %s; starting another", process.exitcode)
                ended.wait(AGAIN_S)

    keeper = threading.Thread(target=keep, name="pilots", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        ended.set()
        keeper.join(15.0)
