"""The unified stack of the made platform behind ``/v1``, as ``mainstem serve`` runs it: one process, one matrix thread."""

from __future__ import annotations

import sys
from pathlib import Path

from mainstem.api.serve import one_thread_per_process, serve

one_thread_per_process()

from benchmarks.made_platform import made_live, settings  # noqa: E402
from mainstem.api.app import create_app  # noqa: E402
from mainstem.base.settings import Serve  # noqa: E402


def main(folder: Path) -> None:
    live = made_live(folder)
    served = Serve(port=0, token=settings().serve.token)
    serve(lambda worker, token: create_app(live, token=token, worker=worker), served, announce, announce)


def announce(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
