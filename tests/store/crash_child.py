"""Appends events from a file of numbers and prints each one once it is acknowledged. Killed by the crash test."""

from __future__ import annotations

import sys

from mainstem.store.event_log import EventLog


def main(path: str, start: int, end: int, batch: int) -> None:
    log = EventLog(path)
    for first in range(start, end, batch):
        numbers = range(first, min(first + batch, end))
        log.append([b'{"request_id":%d,"item_id":1,"event_id":"n-%d"}' % (n, n) for n in numbers])
        sys.stdout.write(f"{numbers[-1]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
