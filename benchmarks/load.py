"""An open-loop client: requests leave when they are due, answered or not, and lateness is counted from when they were due."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONNECTIONS = 48


@dataclass(frozen=True, slots=True)
class Measured:
    """One run at one rate. ``offered_per_s`` was asked for, ``answered_per_s`` came back with 200."""

    offered_per_s: float
    answered_per_s: float
    refused: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """CPU time of the server for each request, threads and all."""


def cpu_ns(pid: int) -> int:
    """CPU time a process has used, threads that ended included, in nanoseconds; the kernel counts in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def rss_bytes(pid: int) -> int:
    """Memory a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def requests(path: str, bodies: list[bytes]) -> list[bytes]:
    """Whole HTTP requests, ready to be written."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "
    return [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]


class _Connections:
    """A pool of keep-alive connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()

    async def open(self, count: int) -> None:
        for _ in range(count):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))

    async def ask(self, request: bytes) -> int:
        """Sends one request and reads its whole answer; the status."""
        reader, writer = await self._free.get()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            return int(head[9:12])
        finally:
            self._free.put_nowait((reader, writer))

    def close(self) -> None:
        while not self._free.empty():
            self._free.get_nowait()[1].close()


async def _capacity(port: int, ready: list[bytes], seconds: float) -> float:
    """Requests a second with two always under way: what the server can do."""
    connections = _Connections(port)
    await connections.open(2)
    until = time.perf_counter() + seconds
    done = 0

    async def one(start: int) -> None:
        nonlocal done
        at = start
        while time.perf_counter() < until:
            await connections.ask(ready[at % len(ready)])
            at += 2
            done += 1

    started = time.perf_counter()
    await asyncio.gather(one(0), one(1))
    connections.close()
    return done / (time.perf_counter() - started)


async def _open_loop(port: int, pid: int, ready: list[bytes], rate: float, seconds: float, seed: int) -> Measured:
    due_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds)))
    connections = _Connections(port)
    await connections.open(CONNECTIONS)
    taken_s = np.full(len(due_s), np.nan)
    statuses = np.zeros(len(due_s), np.int64)
    before = cpu_ns(pid)
    started = time.perf_counter()

    async def one(number: int) -> None:
        statuses[number] = await connections.ask(ready[number % len(ready)])
        taken_s[number] = time.perf_counter() - started - due_s[number]

    tasks = []
    for number, due in enumerate(due_s.tolist()):
        wait = due - (time.perf_counter() - started)
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    elapsed_s = time.perf_counter() - started
    used = cpu_ns(pid) - before
    connections.close()
    good = statuses == 200
    return Measured(
        offered_per_s=rate,
        answered_per_s=float(good.sum() / elapsed_s),
        refused=int((~good).sum()),
        p50_ms=float(np.percentile(taken_s[good], 50) * 1e3),
        p99_ms=float(np.percentile(taken_s[good], 99) * 1e3),
        cpu_ms=used / 1e6 / max(1, len(due_s)),
    )


def measure(
    port: int, pid: int, path: str, bodies: list[bytes], shares: tuple[float, ...], seconds: float
) -> list[Measured]:
    """Warms up, finds what the server can do, and measures it at shares of that."""
    ready = requests(path, bodies)
    asyncio.run(_capacity(port, ready, 1.5))
    capacity = asyncio.run(_capacity(port, ready, seconds / 2))
    return [
        asyncio.run(_open_loop(port, pid, ready, share * capacity, seconds, seed)) for seed, share in enumerate(shares)
    ]
