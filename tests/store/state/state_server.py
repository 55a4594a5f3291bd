"""A Redis or Valkey server of the test's own: a free port, an empty folder, gone with the test session."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest


def server_program() -> str:
    """Where the server is; skips where there is none, and fails in CI."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        message = "neither valkey-server nor redis-server is installed (Debian: apt-get install redis-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class Server:
    """One running server; ``kill`` and ``start`` again keep port and folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.program = server_program()
        self.folder = folder
        self.options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--daemonize", "no", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.program} ended with {self.process.returncode}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    probe.sendall(b"PING\r\n")
                    # -NOAUTH is an answer too; -LOADING is none yet.
                    if probe.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                        return
            time.sleep(0.02)
        raise RuntimeError(f"{self.program} does not answer")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
