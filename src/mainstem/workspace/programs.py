"""The legacy programs as processes of their own: found, trained, started, stopped. Never imported."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mainstem.base.errors import RemoteError

MODULES = {"content-first": "content_first", "interest-first": "interest_first"}
_READY = "listening on "


@dataclass(frozen=True, slots=True)
class Running:
    """A legacy program that serves: its name, address and process."""

    name: str
    url: str
    process: subprocess.Popen[str]


def programs_folder() -> Path:
    """The folder of the legacy programs: ``MAINSTEM_LEGACY``, or ``legacy/`` of the checkout this package runs from.

    Raises:
        RemoteError: There is none (``remote-020``).
    """
    named = os.environ.get("MAINSTEM_LEGACY")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "legacy"
    if not all((folder / module / "__main__.py").is_file() for module in MODULES.values()):
        raise RemoteError(
            f"the legacy programs are not in {folder}",
            code="remote-020",
            hint="run from a checkout, or set MAINSTEM_LEGACY to its legacy/ folder",
        )
    return folder


def train(name: str, log: Path, model: Path, until: int, seed: int) -> None:
    """Lets a legacy program train itself on the log's days before ``until`` (yyyymmdd).

    Raises:
        RemoteError: It failed; its last words are in the message (``remote-021``).
    """
    command = [
        *_module(name),
        "train",
        "--log",
        str(log),
        "--until",
        str(until),
        "--out",
        str(model),
        "--seed",
        str(seed),
    ]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise RemoteError(f"{name} could not be trained: {_last_words(done.stderr)}", code="remote-021")


@contextmanager
def serving(names: tuple[str, ...], log: Path, models: dict[str, Path], until: int) -> Iterator[dict[str, Running]]:
    """Runs legacy servers on free loopback ports, all started at once, and stops them at the end."""
    with ExitStack() as stack:
        started = {}
        for name in names:
            process = _start(name, log, models[name], until)
            stack.callback(_stop, process)
            started[name] = process
        yield {name: Running(name, _address(name, process), process) for name, process in started.items()}


def _start(name: str, log: Path, model: Path, until: int) -> subprocess.Popen[str]:
    command = [*_module(name), "serve", "--log", str(log), "--model", str(model), "--until", str(until), "--port", "0"]
    return subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _address(name: str, process: subprocess.Popen[str]) -> str:
    """Waits for the line that tells the port; then keeps both pipes empty so that the program never blocks on them."""
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if line.startswith(_READY):
            for pipe in (process.stdout, process.stderr):
                threading.Thread(target=_drain, args=(pipe,), daemon=True).start()
            return line.removeprefix(_READY).strip()
    raise RemoteError(f"{name} did not start: {_last_words(process.stderr.read())}", code="remote-022")


def _drain(pipe: IO[str]) -> None:
    for _ in pipe:
        pass


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", MODULES[name]]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(programs_folder()), "PYTHONUNBUFFERED": "1"}


def _last_words(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
