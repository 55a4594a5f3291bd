"""How the server's processes start, share one port, and end without losing anything."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette

from mainstem.api.limits import new_token
from mainstem.base.errors import ConfigError
from mainstem.base.settings import Serve

LOG = logging.getLogger("mainstem.serve")
DRAIN_S: Final = 10
"""How long a process that is told to stop works on what it has taken."""
RESTARTS: Final = 20
"""Processes that may die before the whole server gives up."""

Build = Callable[[int, str], Starlette]
"""Makes the application of one process from its number and the token; a module's function, or a partial of one."""
Announce = Callable[[str], None]
"""Is told the address once the server listens, such as ``http://127.0.0.1:8400``."""


def one_thread_per_process() -> None:
    """Keeps the matrix library at one thread. Works only before numpy is imported, so the command line calls it first.

    A process uses one core; matrix threads beside it fight over the same cores and cost several times what they bring.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def serve(build: Build, settings: Serve, announce: Announce, show_token: Announce) -> None:
    """Serves until told to stop (SIGINT, SIGTERM).

    Args:
        build: Makes the application.
        settings: Host, port (0 takes a free one), workers, token.
        announce: Told the address when it can be asked.
        show_token: Told the token when none was set, once; it is never logged.

    Raises:
        ConfigError: The address cannot be taken (``config-010``).
    """
    one_thread_per_process()
    token = settings.token or new_token()
    with _bound(settings.host, settings.port) as listening:
        port = listening.getsockname()[1]
        if not settings.token:
            show_token(token)
        address = f"http://{_in_address(settings.host)}:{port}"
        if settings.workers <= 1:
            _run(build, 0, token, listening, lambda: announce(address))
        else:
            _Workers(build, settings, port, token).run(lambda: announce(address))


def _bound(host: str, port: int) -> socket.socket:
    """A socket that holds the address. Several processes may hold the same, and the kernel spreads connections over them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if port:
            _refuse_taken(family, host, port)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise ConfigError(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            code="config-010",
            hint="another server may run there: choose another with --port, or --port 0 for a free one",
        ) from None
    return held


def _refuse_taken(family: int, host: str, port: int) -> None:
    """A port that another server of ours shares would be taken silently; a bind without sharing says so."""
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _Announcing(uvicorn.Server):
    """A server that says when it listens, and that ends with 0 when it is told to stop."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, then says so."""
        await super().startup(sockets)
        if self.started:
            self._listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops after what was taken is answered; a second Ctrl-C stops at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _run(build: Build, worker: int, token: str, held: socket.socket, listening: Callable[[], None]) -> None:
    """One process, until told to stop."""
    app = build(worker, token)
    gc.collect()
    gc.freeze()  # what lives as long as the process need not be looked at again; the longest pauses go away
    config = uvicorn.Config(
        app,
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        backlog=1024,
        timeout_graceful_shutdown=DRAIN_S,
    )
    _Announcing(config, listening).run(sockets=[held])


def _worker(build: Build, worker: int, token: str, host: str, port: int) -> None:
    """The main function of one of several processes."""
    with _bound_shared(host, port) as held:
        _run(build, worker, token, held, lambda: None)


def _bound_shared(host: str, port: int) -> socket.socket:
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held


class _Workers:
    """Several processes on one port; one that dies is replaced."""

    def __init__(self, build: Build, settings: Serve, port: int, token: str) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._build = build
        self._settings = settings
        self._port = port
        self._token = token
        self._stopping = False

    def run(self, listening: Callable[[], None]) -> None:
        """Starts them and keeps them running until told to stop."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        running = {worker: self._start(worker) for worker in range(self._settings.workers)}
        listening()
        died = 0
        while not self._stopping and died <= RESTARTS:
            multiprocessing.connection.wait([one.sentinel for one in running.values()], timeout=0.5)
            for worker, process in list(running.items()):
                if not process.is_alive() and not self._stopping:
                    LOG.error("process %d ended with %s; starting another", worker, process.exitcode)
                    died += 1
                    running[worker] = self._start(worker)
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join(DRAIN_S + 5)

    def _start(self, worker: int) -> SpawnProcess:
        process = self._context.Process(
            target=_worker,
            args=(self._build, worker, self._token, self._settings.host, self._port),
            name=f"worker-{worker}",
        )
        process.start()
        return process

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
