"""``mainstem serve`` as a process of its own: started, asked, killed without warning, started again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from mainstem.base.errors import RemoteError

START_S: Final = 120.0
SAYS: Final = " at http"
LOG: Final = "server.log"


class ServerProcess:
    """A server over a workspace, with its pilot, on a free port.

    Args:
        folder: The workspace; what the server says is kept in its ``server.log``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it listens.

        Raises:
            RemoteError: It ended, or did not listen in time (``remote-023``); its last words are in the message.
        """
        log = self.folder / LOG
        with log.open("ab") as out:
            begin = out.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mainstem", "serve", "-w", str(self.folder), "--port", "0"],
                stdout=out,
                stderr=out,
                env={**os.environ, "MAINSTEM_SERVE_TOKEN": self.token},
                start_new_session=True,
            )
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            said = log.read_bytes()[begin:].decode("utf-8", "replace")
            for line in said.splitlines():
                if SAYS in line and said.endswith("\n"):
                    self.url = "http" + line.split(SAYS, 1)[1].split()[0]
                    return
            time.sleep(0.05)
        words = log.read_text(encoding="utf-8").strip().splitlines()
        raise RemoteError(
            f"the server over {self.folder} did not start: {' '.join(words[-3:]) or 'it said nothing'}",
            code="remote-023",
            hint=f"{log} has all it said",
        )

    def kill(self) -> None:
        """Kills it and its pilot without warning, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        try:
            self._process.wait(20.0)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGTERM)
