from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from state_server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests; each uses a prefix of its own."""
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.kill()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Servers with options, for tests that kill or fill them."""
    running: list[Server] = []

    def make(*options: str) -> Server:
        running.append(Server(tmp_path, *options))
        return running[-1]

    yield make
    for each in running:
        each.kill()
