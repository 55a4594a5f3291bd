"""Two servers and somebody who decides in a third process: an act holds for the next request of either server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
from launched_book import plan_of, started
from old_stacks import running
from tiny_live import NOW_MS

from mainstem.launch.one_unit import Line

SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import uvicorn
from mainstem.api.app import create_app
from mainstem.stacks.remote import RemoteStack
from tiny_live import SETTINGS, tiny

whole = tiny(Path(sys.argv[2]), SETTINGS.replace("request_budget_ms = 400", "request_budget_ms = 30000"))
whole.live.remotes = {name: RemoteStack(name, sys.argv[3], 20.0) for name in ("old-a", "old-b")}


class Announcing(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


Announcing(uvicorn.Config(create_app(whole.live, worker=int(sys.argv[4])), port=0, log_level="warning")).run()
"""
DECIDER = """
import sys
from pathlib import Path
from mainstem.store.launch_book import LaunchBook, Move

book = LaunchBook(Path(sys.argv[1]))
for line in sys.stdin:
    share, state = line.split(maxsplit=1)
    place = book.placements()[0]
    book.act("one", Move("feed", "ana", "act", 1, place.number, 1, float(share), state.strip(), "", {}))
    print("done", flush=True)
"""


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as made:
        try:
            yield made
        finally:
            made.terminate()


def line_of(made: subprocess.Popen[str]) -> str:
    assert made.stdout is not None
    return made.stdout.readline().strip()


def test_a_decision_of_a_third_process_holds_for_the_next_request_of_every_server(tmp_path: Path) -> None:
    started(tmp_path, plan_of())
    at = Line("mainstem/launches/one")
    user = next(user for user in range(1_000, 2_000) if at.at(user) < 0.05)
    here = Path(__file__).parent
    with running(120) as old, ExitStack() as stack:
        servers = [stack.enter_context(process(SERVER, here, tmp_path, old.url, worker)) for worker in range(2)]
        decider = stack.enter_context(process(DECIDER, tmp_path / "launches.sqlite"))
        clients = [
            stack.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{line_of(one)}", timeout=20, trust_env=False))
            for one in servers
        ]

        def stacks() -> set[str]:
            body = {"user_id": user, "now_ms": NOW_MS}
            return {one.post("/v1/surfaces/feed/rank", json=body).json()["stack"] for one in clients}

        def decide(share: float, state: str) -> None:
            assert decider.stdin is not None
            decider.stdin.write(f"{share} {state}\n")
            decider.stdin.flush()
            assert line_of(decider) == "done"

        assert stacks() <= {"old-a", "old-b"}
        for _ in range(10):
            decide(0.05, "ramp")
            assert stacks() == {"unified"}
            decide(0.0, "held")
            assert stacks() <= {"old-a", "old-b"}
        decide(0.25, "ramp")
        assert stacks() == {"unified"}
        decide(0.0, "rolled back")
        assert stacks() <= {"old-a", "old-b"}
