"""What a launch costs a request: the look-up of its arm, and a whole request without one, on the new stack and on a legacy one.

``python -m benchmarks.launch_serving`` serves the made platform in this process, with a legacy stack that answers at once in
another, and prints CPU time of this process. The kinds are asked in turn, and the least of several rounds is told. Where an outside
flag splits the units, it is the SDK's in-memory provider: what a provider adds of its own is not counted.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse  # noqa: E402
import asyncio  # noqa: E402
import gc  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import msgspec  # noqa: E402

from benchmarks.made_platform import made_live  # noqa: E402
from mainstem.api.app import create_app  # noqa: E402
from mainstem.api.arms import Arms  # noqa: E402
from mainstem.api.launched import HEARD  # noqa: E402
from mainstem.api.outside_flags import OutsideFlags  # noqa: E402
from mainstem.base.request import Request  # noqa: E402
from mainstem.launch.openfeature import OutsideArms, provided  # noqa: E402
from mainstem.launch.plan_file import Latency, Metric, Plan, Step, plan_hash  # noqa: E402
from mainstem.stacks.remote import RemoteStack  # noqa: E402
from mainstem.store.launch_book import FILE, LaunchBook, Move, Started  # noqa: E402
from mainstem.store.launch_watch import LaunchWatch  # noqa: E402

LOOK_UP_US = 20.0
OLD = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Old(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        items = [{"item_id": at + 1, "score": 1.0} for at in range(asked.get("count", 0))]
        told = json.dumps({"request_id": asked.get("request_id", 0), "items": items, "accepted": 0}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(told) + told)
    def log_message(self, *_): ...
server = ThreadingHTTPServer(("127.0.0.1", 0), Old)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Asked:
    """The application, asked without a socket."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.stack = ""

    async def rank(self, user: int) -> None:
        body = b'{"user_id":%d,"count":50}' % user
        scope = {
            "type": "http", "method": "POST", "path": "/v1/surfaces/feed/rank", "query_string": b"", "headers": [],
            "client": ("127.0.0.1", 1), "root_path": "", "scheme": "http", "server": ("127.0.0.1", 1), "http_version": "1.1",
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            if body_told := message.get("body"):
                self.stack = msgspec.json.decode(body_told)["stack"]

        await self._app(scope, receive, send)


def look_up_us(call: Callable[[Request], object], rounds: int = 20, each: int = 2_000) -> float:
    """The least CPU time of one look-up, users at random."""
    asked = [Request(at, at * 7_919 % 5_000, "feed", 0, 50) for at in range(each)]
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for one in asked:
            call(one)
        best = min(best, (time.process_time() - started) / each * 1e6)
    return best


async def request_ms(asked: Asked, users: list[int], each: int) -> float:
    """CPU time of a request, over some of them."""
    started = time.process_time()
    for at in range(each):
        await asked.rank(users[at % len(users)])
    await asyncio.wait(
        {one for one in asyncio.all_tasks() if one.get_name() == HEARD} or {asyncio.create_task(asyncio.sleep(0))}
    )
    return (time.process_time() - started) / each * 1e3


def start_launch(
    folder: Path, share: float, latency: Latency | None = None, at_ms: int = 1, flag: str = ""
) -> LaunchBook:
    """A launch of the feed with a share of its units on the new stack; perhaps an outside flag says which."""
    plan = Plan(
        name="bench",
        surfaces=["feed"],
        legacy=["old"],
        metrics={"clicks": Metric(role="primary", column="click", margin=0.01)},
        steps=[Step(share=share, hold_hours=1)],
        latency=latency or Latency(),
        flags={"feed": flag} if flag else msgspec.UNSET,
    )
    book = LaunchBook(folder / FILE)
    book.start(
        Started(plan.name, msgspec.json.encode(plan), plan_hash(plan), 0, {}), {"feed": (0.0, "shadow")}, "bench"
    )
    assert book.act("bench", Move("feed", "bench", "forward", at_ms, 1, 1, share, "ramp", "", {}))
    return book


def split() -> Any:
    """An outside provider whose flag gives each unit an arm."""
    from openfeature.flag_evaluation import FlagResolutionDetails, Reason
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    def told(flag: Any, context: Any) -> FlagResolutionDetails[str]:
        return FlagResolutionDetails(("treatment", "control")[int(context.targeting_key) % 2], reason=Reason.SPLIT)

    return InMemoryProvider({"new": InMemoryFlag("none", {"none": "outside"}, context_evaluator=told)})


async def flagged_us(folder: Path, rounds: int = 10, each: int = 2_000) -> dict[str, float]:
    """The least CPU time of a look-up where an outside flag splits the units: kept, asked here, asked on a thread."""
    start_launch(folder, 0.5, flag="new")
    client, end = provided(f"{split.__module__}:split")
    while not OutsideArms(client).ask("new", "1").arm:  # the SDK starts a provider in a thread
        await asyncio.sleep(0.01)
    found = dict[str, float]()
    kinds = {"kept": (0.0, 1e9), "asked on the event loop": (0.0, 0.0), "asked on a thread": (1.0, 0.0)}
    for name, (wait_s, keep_s) in kinds.items():
        flags = OutsideFlags(OutsideArms(client).ask, wait_s=wait_s, keep_s=keep_s)
        arms, best = Arms(LaunchWatch(folder / FILE), lambda: 2, ("old",), outside=flags), float("inf")
        for _ in range(rounds):
            started = time.process_time()
            for unit in range(each):
                call = arms.of("feed", unit)
                if call is not None and call.flag:
                    call = await arms.asked(call, unit, str(unit))
                assert call is not None
                assert call.arm
            best = min(best, (time.process_time() - started) / each * 1e6)
        found[f"look-up, an outside flag, {name}, us"] = best
        flags.close()
    end()
    return found


async def measured(folder: Path, url: str, rounds: int, each: int) -> dict[str, float]:
    """Every figure, by name."""
    live = made_live(folder)
    live.remotes = {"old": RemoteStack("old", url, 1.0)}
    app = create_app(live, worker=1)
    service, asked, found = app.state.service, Asked(app), dict[str, float]()
    await service.start()
    while not service.started:
        await asyncio.sleep(0.01)
    own, users = service.launched.call, list(range(1, 400))
    gc.collect()
    gc.freeze()
    found["look-up, no book of launches, us"] = look_up_us(own)

    async def best(kinds: dict[str, tuple[Any, list[int], str]]) -> None:
        for _ in range(rounds):
            for name, (call, some, stack) in kinds.items():
                service.launched.call = call
                found[name] = min(found.get(name, float("inf")), await request_ms(asked, some, each))
                assert asked.stack == stack, f"{name}: {asked.stack}"

    without = {"request, look-up left out, ms": (lambda request: None, users, "unified")}
    await best({**without, "request, no launch, ms": (own, users, "unified")})
    start_launch(folder, 0.5)
    found["look-up, a launch has the surface, us"] = look_up_us(own)
    ours = [user for user in users if own(Request(1, user, "feed", 0, 50)).ours]
    theirs = [user for user in users if user not in set(ours)]
    await best(
        {
            "request, same users, launch left out, ms": (lambda request: None, ours, "unified"),
            "request, on the new stack, ms": (own, ours, "unified"),
            "request, on a legacy stack, ms": (own, theirs, "old"),
        }
    )
    service.launched.call = own
    await service.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--each", type=int, default=50, help="requests in a round")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-c", OLD], stdout=subprocess.PIPE, text=True) as old,
    ):
        assert old.stdout is not None
        try:
            url = f"http://127.0.0.1:{old.stdout.readline().strip()}"
            apart = Path(folder) / "flagged"
            apart.mkdir()
            found = asyncio.run(flagged_us(apart)) | asyncio.run(measured(Path(folder), url, given.rounds, given.each))
        finally:
            old.kill()
    for name, value in found.items():
        print(f"{name:52} {value:9.3f}")
    known = [one for name, one in found.items() if name.startswith("look-up") and ", asked" not in name]
    worst = max(known)
    print(f"look-up of an arm at most {LOOK_UP_US:g} us: {worst:.1f}, {'met' if worst <= LOOK_UP_US else 'missed'}")


if __name__ == "__main__":
    main()
