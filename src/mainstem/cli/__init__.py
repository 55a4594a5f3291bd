"""The ``mainstem`` command: parses, calls, prints. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os


def main() -> None:
    """Runs the command line; every coded error ends in one message, a hint and exit code 1."""
    # Dense products are small and requests many: one thread a process is faster here and leaves the cores to other processes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from mainstem.base.errors import MainstemError
    from mainstem.cli.terminal import show_error
    from mainstem.cli.verbs import app

    try:
        app()
    except MainstemError as error:
        show_error(error)
