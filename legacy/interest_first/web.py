"""The five routes over plain HTTP/1.1, on the standard library alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import STACK, VERSION
from .stack import Stack
from .wire import RefusedError, event_list, parse, rank_ask, replay_lines

MOST_BYTES = 32 * 1024 * 1024
DRAIN_BYTES = 128 * 1024 * 1024  # a body too large is read away up to here, so that its sender hears the answer
IDLE_S = 75


def _answer(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


class Desk:
    """Answers calls, one at a time and in the order they come."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._turn = threading.Lock()

    def call(self, method: str, path: str, body: bytes) -> bytes:
        """The answer to one call; raises `RefusedError`."""
        routes = {
            ("GET", "/v1/health"): self._health,
            ("POST", "/v1/rank"): self._rank,
            ("POST", "/v1/events"): self._events,
            ("POST", "/v1/replay"): self._replay,
            ("POST", "/v1/reset"): self._reset,
        }
        route = routes.get((method, path))
        if route is None:
            allowed = [known for known, at in routes if at == path]
            if allowed:
                raise RefusedError(405, "wrong_method", f"{path} takes {allowed[0]}, not {method}")
            raise RefusedError(404, "unknown_route", f"no route {path[:60]!r}")
        with self._turn:
            return route(body)

    def _health(self, _: bytes) -> bytes:
        return _answer(self._stack.health())

    def _rank(self, body: bytes) -> bytes:
        return _answer(self._stack.rank(rank_ask(parse(body))))

    def _events(self, body: bytes) -> bytes:
        taken = [self._stack.take(event) for event in event_list(parse(body))]
        return _answer({"accepted": sum(taken), "duplicates": len(taken) - sum(taken)})

    def _replay(self, body: bytes) -> bytes:
        lines = replay_lines(body)
        for kind, ask in lines:
            if kind != "event" and ask.surface not in self._stack.plans:
                raise RefusedError(404, "unknown_surface", f"no plan for surface {ask.surface[:60]!r}")
        return b"".join(self._replayed(lines))

    def _replayed(self, lines: list[tuple[str, Any]]) -> Iterator[bytes]:
        for kind, ask in lines:
            if kind == "event":
                self._stack.take(ask)
            else:
                yield _answer(self._stack.score(ask) if kind == "score" else self._stack.rank(ask)) + b"\n"

    def _reset(self, _: bytes) -> bytes:
        self._stack.reset()
        return _answer({"ready": True})


def _handler(desk: Desk) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = f"{STACK}/{VERSION}"
        sys_version = ""
        wbufsize = -1  # one packet an answer: headers and body apart would wait for each other
        disable_nagle_algorithm = True
        timeout = IDLE_S

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the caller keeps the log."""

        def _serve(self) -> None:
            try:
                body = b"".join(self._body())
                kind = "application/x-ndjson" if self.path == "/v1/replay" else "application/json"
                self._send(200, kind, desk.call(self.command, self.path.split("?")[0], body))
            except RefusedError as refused:
                self._send(refused.status, "application/json", refused.body())
            except ConnectionError:
                self.close_connection = True
            except Exception as error:  # a fault of ours must not look like a dead stack
                self._send(
                    500, "application/json", RefusedError(500, "fault", f"{type(error).__name__}: {error}").body()
                )

        def _body(self) -> Iterator[bytes]:
            if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
                yield from self._chunks()
                return
            length = self.headers.get("Content-Length", "0")
            if not length.isascii() or not length.isdigit():
                self.close_connection = True
                raise RefusedError(400, "malformed", f"Content-Length {length[:40]!r} is no number")
            if int(length) > MOST_BYTES:
                self._drain(int(length))
                raise RefusedError(413, "too_large", f"a body holds at most {MOST_BYTES} bytes, this one {length}")
            yield self.rfile.read(int(length))

        def _chunks(self) -> Iterator[bytes]:
            total = 0
            while True:
                head = self.rfile.readline(1024).split(b";")[0].strip()
                try:
                    size = int(head, 16)
                except ValueError:
                    self.close_connection = True
                    raise RefusedError(400, "malformed", "a chunk's size is not hexadecimal") from None
                total += size
                if total > MOST_BYTES or size < 0:
                    self.close_connection = True
                    raise RefusedError(413, "too_large", f"a body holds at most {MOST_BYTES} bytes")
                part = self.rfile.read(size)
                self.rfile.readline(1024)
                if not size:
                    return
                yield part

        def _drain(self, length: int) -> None:
            self.close_connection = True
            left = min(length, DRAIN_BYTES)
            while left > 0:
                part = self.rfile.read(min(left, 1 << 20))
                if not part:
                    return
                left -= len(part)

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    return Handler


class Server(ThreadingHTTPServer):
    """A thread a connection; the desk lets one call in at a time."""

    daemon_threads = True
    request_queue_size = 128


def open_server(stack: Stack, host: str, port: int) -> Server:
    """A server that is bound but not yet running; port 0 picks one."""
    return Server((host, port), _handler(Desk(stack)))
