"""A workspace's own stacks as deployments: on a share of its users and candidates, trained, served, asked, measured."""

from __future__ import annotations

import http.client
import json
import math
import multiprocessing
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import polars as pl

from mainstem.base.errors import CapacityError
from mainstem.base.settings import FILE, TEACHER_OF
from mainstem.capacity.stacks import Sample
from mainstem.data.log import read_log, write_log
from mainstem.data.records import decode_impression
from mainstem.stacks.retrieving import QUOTAS
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.programs import serving, train

UNIFIED: Final = "unified"
STACKS: Final = (*LEGACY, UNIFIED)
EVER: Final = 99_999_999
SMALL: Final = ((0.3, 0.2), (0.6, 0.4), (0.3, 0.6), (0.6, 0.8))
"""Shares of the users and scales of the candidates of the deployments that are told from."""
WHOLE: Final = (1.0, 1.0)
WARM: Final = 30
"""Requests to each server that are not counted."""
SLATES: Final = (4, 7)
"""Slates that the deployments are asked for when bytes are counted."""
TRAININGS: Final = 3
SHORT_S: Final = 30.0
"""Trainings that take less CPU time than this are made as many times, and the least is taken."""
_PAUSE_S: Final = 0.002
_WHOLE_PROCESS: Final = 2
"""With a process's number, the clock of its CPU time (``clock_getcpuclockid``): CPUCLOCK_SCHED."""
_RESTS_S: Final = 3.0
Progress = Callable[[float, str], None]


@dataclass(slots=True)
class Server:
    """A stack that runs, and what was seen of it."""

    stack: str
    share: float
    scale: float
    folder: Path
    pid: int
    url: str
    viewers: list[int]
    now_ms: int
    rows: int
    train_s: float
    seconds: dict[str, list[float]] = field(default_factory=dict)
    asked: int = 0
    answered: dict[int, list[int]] = field(default_factory=dict)
    link: http.client.HTTPConnection | None = None
    used: float = 0.0

    def ask(self, surface: str, count: int, *, counted: bool) -> None:
        """One request; its CPU seconds are all that the process used until it rested again."""
        viewer = self.viewers[self.asked % len(self.viewers)]
        self.asked += 1
        body: dict[str, Any] = {"user_id": viewer, "count": count}
        path = f"/v1/surfaces/{surface}/rank"
        if self.stack != UNIFIED:
            path = "/v1/rank"
            body |= {"request_id": self.asked, "surface": surface, "now_ms": self.now_ms + 1_000 * self.asked}
        link = self._linked()
        before = cpu_s(self.pid)
        answer = self._sent(link, path, json.dumps(body).encode())
        time.sleep(_PAUSE_S)
        if counted:
            self.seconds.setdefault(surface, []).append(cpu_s(self.pid) - before)
        self.answered.setdefault(count, []).append(len(answer))

    def _linked(self) -> http.client.HTTPConnection:
        """A connection that the server has not given up: it closes what rests for some seconds."""
        host, port = self.url.rsplit("/", 1)[1].rsplit(":", 1)
        now = time.monotonic()
        if self.link is None or now - self.used > _RESTS_S:
            if self.link is not None:
                self.link.close()
            self.link = http.client.HTTPConnection(host, int(port), timeout=60)
            self.link.connect()
        self.used = now
        return self.link

    def _sent(self, link: http.client.HTTPConnection, path: str, body: bytes) -> bytes:
        link.request("POST", path, body, {"Content-Type": "application/json"})
        reply = link.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise CapacityError(
                f"found status {reply.status} from {self.stack} for {path}: {text[:200].decode(errors='replace')}",
                code="capacity-070",
                hint="the stack must answer before it is measured: mainstem doctor",
            )
        return text


def cpu_s(pid: int) -> float:
    """CPU seconds of a process to the nanosecond, all its threads, those that have ended too.

    Raises:
        CapacityError: ``capacity-071`` where the system does not tell.
    """
    try:
        return time.clock_gettime((~pid << 3) | _WHOLE_PROCESS)
    except (OSError, OverflowError, AttributeError) as no:
        raise CapacityError(
            f"found no CPU time of process {pid}: {no}",
            code="capacity-071",
            hint="measuring stacks needs Linux and a process of one's own",
        ) from no


def resident_bytes(pid: int) -> float:
    """Bytes a process holds."""
    return float(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def carried_by(place: Workspace) -> dict[str, str]:
    """Which legacy stack carries each surface today."""
    return {name: one.teacher or TEACHER_OF.get(name, LEGACY[0]) for name, one in place.settings.served().items()}


def deployments(
    place: Workspace, scratch: Path, requests: int, seed: int, progress: Progress, *, train_too: bool = True
) -> dict[str, list[Sample]]:
    """Trains and serves every stack small and whole, asks all of them in turn, and tells what each took.

    All servers run at once and are asked one after the other, so that what else the machine does meets all alike.

    Args:
        place: The workspace; nothing in it is changed.
        scratch: A folder for logs, models and live files; what a stopped run of the same seed trained there is used.
        requests: Requests a surface and server.
        seed: Of the trainings and viewers.
        progress: Told how far it is.
        train_too: Whether each part is trained; otherwise the workspace's own models serve all, and no training is told.

    Returns:
        By stack, the small deployments and then the whole one.
    """
    shares = sorted({share for share, _ in (*SMALL, WHOLE)})
    trained: dict[tuple[str, float], tuple[int, float]] = {}
    for at, share in enumerate(shares):
        folder = scratch / f"share-{share:g}"
        part = Workspace.open(folder) if (folder / "log").exists() else part_of(place, folder, share)
        if not train_too:
            copy_models(place, part)
        for number, stack in enumerate(STACKS):
            progress(0.6 * (at + number / len(STACKS)) / len(shares), f"training {stack} on {share:.0%} of the users")
            trained[stack, share] = _once(part.folder, stack, seed) if train_too else (_rows(part), math.nan)
    with ExitStack() as running:
        servers = [
            running.enter_context(_served(scratch, stack, share, scale, trained[stack, share], seed))
            for stack in STACKS
            for share, scale in (*SMALL, WHOLE)
        ]
        _ask_all(servers, carried_by(place), requests, lambda done, text: progress(0.65 + 0.35 * done, text))
        kept = {id(one): resident_bytes(one.pid) for one in servers}
    found: dict[str, list[Sample]] = {stack: [] for stack in STACKS}
    for one in servers:
        seconds = {surface: np.array(values) for surface, values in one.seconds.items()}
        logged = {size: float(np.mean(sizes)) for size, sizes in one.answered.items()}
        if one.stack == UNIFIED:
            logged = logged_by_slate(one.folder / "live" / "events.sqlite")
        found[one.stack].append(
            Sample(one.stack, one.share, one.scale, seconds, kept[id(one)], one.rows, one.train_s, logged)
        )
    return found


def part_of(place: Workspace, folder: Path, share: float) -> Workspace:
    """A workspace of this share of the users with all their rows, and every item. The same users at each call."""
    folder.mkdir(parents=True, exist_ok=True)
    if place.file.exists():
        shutil.copyfile(place.file, folder / FILE)
    log = open_log(place)
    kept = pl.col("user_id").hash(1) % 1_000 < round(share * 1_000)
    tables = {
        name: getattr(log, name).filter(kept) if share < 1.0 else getattr(log, name)
        for name in ("impressions", "users", "history")
    }
    write_log(tables | {"items": log.items}, folder / "log", log.manifest)
    return Workspace.open(folder)


def trained_stack(folder: Path, stack: str, seed: int) -> tuple[int, float]:
    """Trains one stack in a workspace: rows of the log before its validation day, and CPU seconds. One process a call."""
    place = Workspace.open(folder)
    log = open_log(place)
    parts = split(place, log)
    rows, before = _rows(place), _used()
    if stack != UNIFIED:
        train(stack, place.log, place.legacy_model(stack), parts.validation_day, seed)
    else:
        from mainstem.workspace.retrieval import train_retrieval
        from mainstem.workspace.train import train_unified

        model = train_unified(place, log, parts, seed, _silent)
        train_retrieval(place, log, parts, model, seed, _silent)
    return rows, _used() - before


def _rows(place: Workspace) -> int:
    """Rows of the log before the validation day."""
    log = open_log(place)
    day = split(place, log).validation_day
    return log.impressions.filter(pl.col("day") < day).height + log.history.height


def copy_models(place: Workspace, part: Workspace) -> None:
    """The workspace's own models for a part of it.

    Raises:
        CapacityError: ``capacity-069`` when a stack has none.
    """
    for name in (*STACKS, "retrieval"):
        source, target = place.folder / "models" / name, part.folder / "models" / name
        if not source.exists():
            raise CapacityError(
                f"found no model of {name} in {place.folder}",
                code="capacity-069",
                hint="mainstem train makes them, or let the parts be trained",
            )
        shutil.copytree(source, target, dirs_exist_ok=True)


def _silent(*_: object) -> None:
    """Progress that nobody reads."""


def _used() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _once(folder: Path, stack: str, seed: int) -> tuple[int, float]:
    """Trains a stack, unless a run that was stopped has done so in this folder; the least CPU time of a few where they are short.

    What else the machine does makes a training dearer, never cheaper.
    """
    file = folder / f"{stack}.json"
    if not file.exists():
        rows, seconds = _apart(trained_stack, folder, stack, seed)
        for _ in range(TRAININGS - 1 if seconds < SHORT_S else 0):
            seconds = min(seconds, _apart(trained_stack, folder, stack, seed)[1])
        file.write_text(json.dumps((rows, seconds)))
    rows, seconds = json.loads(file.read_text())
    return int(rows), float(seconds)


def _apart(work: Callable[..., tuple[int, float]], *given: Any) -> tuple[int, float]:
    """Runs in a fresh process: what one training leaves warm must not help the next."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


@contextmanager
def _served(
    scratch: Path, stack: str, share: float, scale: float, trained: tuple[int, float], seed: int
) -> Iterator[Server]:
    source, folder = scratch / f"share-{share:g}", scratch / f"{stack}-{share:g}-{scale:g}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "log").symlink_to((source / "log").resolve(), target_is_directory=True)
    shutil.copytree(source / "models", folder / "models")
    rows = read_log(folder / "log").impressions
    viewers = np.random.default_rng(seed).permutation(rows["user_id"].unique(maintain_order=True).to_numpy()).tolist()
    now_ms = int(rows["time_ms"].max() or 0) + 1_000  # type: ignore[arg-type]
    with ExitStack() as running:
        if stack == UNIFIED:
            (folder / FILE).write_text(scaled_settings(Workspace.open(source), scale))
            process, url = running.enter_context(_mainstem(folder))
        else:
            scale_legacy(folder / "models" / stack, scale)
            models = {stack: folder / "models" / stack}
            one = running.enter_context(serving((stack,), folder / "log", models, until=EVER))[stack]
            process, url = one.process, one.url
        yield Server(stack, share, scale, folder, process.pid, url, viewers, now_ms, *trained)


@contextmanager
def _mainstem(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``mainstem serve`` as a process of its own."""
    command = [sys.executable, "-m", "mainstem", "serve", "-w", str(folder), "--port", "0"]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=os.environ | threads, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("serving "):
                threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
                yield process, line.split(" at ")[1].split()[0]
                return
        raise CapacityError(
            f"found no server in {folder}: {''.join(said)[-300:]}", code="capacity-070", hint="mainstem doctor"
        )
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _drain(pipe: IO[str]) -> None:
    try:
        for _ in pipe:
            pass
    except ValueError:  # closed at the end
        pass


def _ask_all(servers: list[Server], carries: Mapping[str, str], requests: int, progress: Progress) -> None:
    count = 10
    for one in servers:
        for at in range(WARM):
            one.ask(_surfaces(one, carries)[at % len(_surfaces(one, carries))], count, counted=False)
    for turn in range(requests):
        for one in servers:
            for surface in _surfaces(one, carries):
                one.ask(surface, count, counted=True)
        progress(turn / requests, "asking every server in turn")
    for one in servers:
        for size in SLATES if (one.share, one.scale) != WHOLE else ():
            for _ in range(WARM):
                one.ask(_surfaces(one, carries)[0], size, counted=False)


def _surfaces(one: Server, carries: Mapping[str, str]) -> list[str]:
    return [surface for surface, stack in carries.items() if one.stack in (stack, UNIFIED)]


def logged_by_slate(file: Path) -> dict[int, float]:
    """Bytes of the durable log's records a request, by items shown.

    What the file adds (pages, an index) depends on how records of several sizes share a page, and is left out.
    """
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as link:
        rows = link.execute("SELECT payload FROM events WHERE kind = 'impression'").fetchall()
    sizes: dict[int, list[int]] = {}
    for (payload,) in rows:
        sizes.setdefault(len(decode_impression(payload).item_ids) // 8, []).append(len(payload))
    return {size: float(np.mean(one)) for size, one in sizes.items()}


def scaled_settings(place: Workspace, scale: float) -> str:
    """The settings file with so many times the candidates, ranked items and offers of every surface."""
    text = place.file.read_text() if place.file.exists() else ""
    given = tomllib.loads(text)
    surfaces = given.setdefault("surfaces", {})
    for name, one in place.settings.served().items():
        mine = surfaces.setdefault(name, {})
        mine |= {"candidates": round(one.candidates * scale), "rank": round(one.rank * scale)}
        mine["sources"] = {source: round(offers * scale) for source, offers in (QUOTAS | one.sources).items()}
    return "".join(_toml(given, ()))


def _toml(table: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[str]:
    """Plain values and tables as TOML; JSON's texts, numbers and lists are TOML's too."""
    if at:
        yield f"[{'.'.join(json.dumps(part) for part in at)}]\n"
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    for key, value in table.items():
        if key not in inner:
            yield f"{json.dumps(key)} = {json.dumps(value)}\n"
    for key, value in inner.items():
        yield from _toml(value, (*at, key))


def scale_legacy(model: Path, scale: float) -> None:
    """Changes how many candidates a legacy program fetches, in its own settings beside its model."""
    flags, plans = model / "flags.json", model / "plans.toml"
    if flags.exists():
        held = json.loads(flags.read_text())
        flags.write_text(json.dumps({k: round(v * scale) if ".quota." in k else v for k, v in held.items()}))
    if plans.exists():
        lines = plans.read_text().splitlines()
        for at, line in enumerate(lines):
            if line.split("=")[0].strip() == "fetch":
                lines[at] = f"fetch = {round(int(line.split('=')[1].split('#')[0]) * scale)}"
        plans.write_text("\n".join(lines) + "\n")
