"""What went wrong, what was expected, where, and which command helps: the one error tree of Mainstem."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MainstemError(Exception):
    """A refusal with a stable code that a person can look up and a program can match.

    Args:
        message: What was found, what was expected and where; one sentence without a full stop.
        code: Stable, ``room-000``; each has a heading in ``docs/reference/errors.md``.
        hint: The command or the line that mends it.
    """

    code = "base-000"
    status = 400
    """The HTTP status a door answers with."""

    def __init__(self, message: str, *, code: str | None = None, hint: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status

    def as_dict(self) -> dict[str, str]:
        """The error as every door sends it: code, message and, when there is one, a hint."""
        return {"code": self.code, "message": self.message} | ({"hint": self.hint} if self.hint else {})


class DataError(MainstemError):
    """A table, file or record is not what the log contract says (codes ``data-…``)."""

    code = "data-000"


class ConfigError(MainstemError):
    """A setting is unknown, missing or out of bounds (codes ``config-…``)."""

    code = "config-000"


class FeatureError(MainstemError):
    """A feature is declared, fed or read in a way that has no one meaning (codes ``feature-…``)."""

    code = "feature-000"


class ModelError(MainstemError):
    """A model does not fit what it is asked to score (codes ``model-…``)."""

    code = "model-000"


class RetrievalError(MainstemError):
    """A retrieval model or index cannot be learned, read or asked as wished (codes ``retrieval-…``)."""

    code = "retrieval-000"


class BenchError(MainstemError):
    """A benchmark's protocol cannot be kept, so it prints nothing (codes ``bench-…``)."""

    code = "bench-000"


class ControlError(MainstemError):
    """A rule, its state or its lookup cannot be what was asked of it (codes ``control-…``)."""

    code = "control-000"


class EvidenceError(MainstemError):
    """Evidence is too thin, or not of the kind that the question needs (codes ``evidence-…``)."""

    code = "evidence-000"


class LaunchError(MainstemError):
    """A launch's plan, its evidence or its assignment cannot be what was asked of it (codes ``launch-…``)."""

    code = "launch-000"


class CapacityError(MainstemError):
    """A capacity plan, its measured constants or its ledger cannot be what was asked of it (codes ``capacity-…``)."""

    code = "capacity-000"


class ProgramError(MainstemError):
    """A plan of tasks, its schedule or its evidence cannot be what was asked of it (codes ``program-…``)."""

    code = "program-000"


class RequestError(MainstemError):
    """A request cannot be answered as asked (codes ``request-…``)."""

    code = "request-000"


class StoreError(MainstemError):
    """A write was not made, and says so (codes ``store-…``)."""

    code = "store-000"
    status = 503


class RemoteError(MainstemError):
    """An outside stack did not answer, or not in the protocol (codes ``remote-…``)."""

    code = "remote-000"
    status = 502


_MOST_NAMES = 30


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Which known names look like the one that was found, as a hint; every name when none does."""
    names = sorted(known)
    close = difflib.get_close_matches(found, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return "known: " + ", ".join(names[:_MOST_NAMES]) + more
