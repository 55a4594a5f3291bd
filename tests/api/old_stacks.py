"""Legacy stacks for tests: fixed slates over HTTP in this process, or in one of their own that can be killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OldStack(ThreadingHTTPServer):
    """Shows the items from ``first`` on, and remembers what it was told."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, first: int, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answers)
        self.first = first
        self.told: dict[str, dict] = {}
        self.asked: list[dict] = []
        self.gate: threading.Event | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, body: dict) -> dict:
        if path == "/v1/health":
            return {"stack": "old", "ready": True, "events_seen": len(self.told)}
        if path == "/v1/events":
            fresh = {f"{one['request_id']}-{one['item_id']}": one for one in body["events"]}
            before = len(self.told)
            self.told |= fresh
            accepted = len(self.told) - before
            return {"accepted": accepted, "duplicates": len(body["events"]) - accepted}
        self.asked.append(body)
        if self.gate is not None:
            self.gate.wait(30)
        items = [{"item_id": self.first + at, "score": 1.0 - at / 100} for at in range(body["count"])]
        return {"request_id": body["request_id"], "stack": "old", "items": items, "timings_ms": {"rank": 0.1}}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._send(body)

    def do_GET(self) -> None:
        self._send({})

    def _send(self, body: dict) -> None:
        assert isinstance(self.server, OldStack)
        told = json.dumps(self.server.answer(self.path, body)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def running(first: int) -> Iterator[OldStack]:
    """One in this process."""
    with OldStack(first) as stack:
        thread = threading.Thread(target=stack.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stack
        finally:
            stack.shutdown()
            thread.join()


@contextmanager
def apart(first: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """One in a process of its own: its address and the process."""
    command = [sys.executable, __file__, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    with OldStack(int(sys.argv[1])) as alone:
        print(alone.url, flush=True)  # noqa: T201
        alone.serve_forever()
