"""Where every launch stands and how it came there: one file that pilots, servers and people share.

An act (forward, hold, pause, roll back, stop) and the place it leads to are one transaction, and it is refused when the place is
another than the one it was decided from. So a pilot that is killed at any moment has either acted or not, and nothing is done
twice, whoever else acts. Acts are only ever added, each with a hash over the one before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.base.errors import StoreError
from mainstem.store.event_table import translated

FILE: Final = "launches.sqlite"
PERSON: Final = "person"
PILOT: Final = "pilot"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS launches (
    name TEXT PRIMARY KEY, plan BLOB NOT NULL, plan_hash TEXT NOT NULL, started_ms INTEGER NOT NULL, facts BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (
    launch TEXT, surface TEXT, step INTEGER NOT NULL, share REAL NOT NULL, state TEXT NOT NULL, since_ms INTEGER NOT NULL,
    reason TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (launch, surface)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS acts (
    launch TEXT, number INTEGER, at_ms INTEGER NOT NULL, surface TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    before REAL NOT NULL, after REAL NOT NULL, reason TEXT NOT NULL, evidence BLOB NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (launch, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looks (
    launch TEXT, surface TEXT, number INTEGER, at_ms INTEGER NOT NULL, seen INTEGER NOT NULL,
    PRIMARY KEY (launch, surface, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seats (
    launch TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL, turn INTEGER NOT NULL, seen_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS acts_stay BEFORE UPDATE ON acts BEGIN SELECT RAISE(ABORT, 'an act is never changed'); END;
CREATE TRIGGER IF NOT EXISTS acts_last BEFORE DELETE ON acts BEGIN SELECT RAISE(ABORT, 'an act is never removed'); END;
"""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one surface of one launch stands: what a server assigns arms by.

    Attributes:
        step: Of the plan, from 0.
        share: Share of units on the new stack; 0 while it is only mirrored, rolled back or stopped.
        state: A word of ``launch.standing.State``.
        number: Of the act that led here; what the next act must have seen.
        plan: The plan as it was started under, JSON.
    """

    launch: str
    surface: str
    step: int
    share: float
    state: str
    since_ms: int
    reason: str
    number: int
    plan: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """A launch as it was started: the plan, its hash, when, and what was known of its traffic then."""

    name: str
    plan: bytes
    plan_hash: str
    started_ms: int
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One act of the audit: who or what, when, why, from where to where. Never changed once written.

    Attributes:
        number: Counts up over the whole launch.
        actor: ``pilot`` or a person's name.
        action: ``start``, ``forward``, ``hold``, ``pause``, ``roll back``, ``resume``, ``stop``, ``land``.
        before, after: Share of units on the new stack.
        evidence: What was seen, by name, as plain values.
        digest: Hash over this entry and the digest before it.
    """

    number: int
    at_ms: int
    surface: str
    actor: str
    action: str
    before: float
    after: float
    reason: str
    evidence: dict[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class DayLook:
    """A daily look that was taken: its day since the first unit was exposed, when, and how much of the log it saw.

    Attributes:
        seen: The log's offset; what came in later belongs to the next look, so that a look read again is the same look.
    """

    number: int
    at_ms: int
    seen: int


@dataclass(frozen=True, slots=True)
class Move:
    """An act that is to be done.

    Args:
        expected: The number of the act that the deciding place came from.
        step, share, state: Where it leads.
        look: The daily look that it was decided at, taken for good with it; None for none.
    """

    surface: str
    actor: str
    action: str
    at_ms: int
    expected: int
    step: int
    share: float
    state: str
    reason: str
    evidence: dict[str, Any]
    look: DayLook | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """The right to act as the pilot of a launch; worthless once somebody else sits there."""

    launch: str
    holder: str
    turn: int


class LaunchBook:
    """The durable book of launches. Any thread and process may call any method; what returned is on disk.

    Each call opens the file anew: calls are rare but for ``version``, and servers watch that by other means.

    Args:
        path: The file; it and its folder are made.
        busy_s: How long to wait for another process that writes.

    Raises:
        StoreError: The disk is full (``store-002``), another process holds the file (``store-003``), or it fails otherwise
            (``store-004``). Every method may raise them; nothing was changed then.
    """

    def __init__(self, path: Path, busy_s: float = 5.0) -> None:
        self.path, self._busy_s = path, busy_s
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(_SCHEMA)

    def version(self) -> int:
        """A number that every act makes larger."""
        with self._open() as db:
            return _version(db)

    def start(self, started: Started, surfaces: dict[str, tuple[float, str]], actor: str) -> None:
        """Puts a launch into the book, each surface at its first step.

        Args:
            started: The launch.
            surfaces: Surface = share and state of the first step.
            actor: Who starts it.

        Raises:
            StoreError: A launch of this name is there (``store-090``), or an unfinished one holds a surface (``store-091``).
        """
        with self._write() as db:
            held = db.execute("SELECT plan_hash FROM launches WHERE name = ?", (started.name,)).fetchone()
            if held:
                raise StoreError(
                    f"found a launch {started.name!r} of plan {held[0][:12]}, expected a name of its own",
                    code="store-090",
                    hint="a launch is started once: give the new plan another name",
                )
            for surface in surfaces:
                _refuse_held(db, surface)
            facts = msgspec.json.encode(started.facts)
            db.execute(
                "INSERT INTO launches VALUES (?, ?, ?, ?, ?)",
                (started.name, started.plan, started.plan_hash, started.started_ms, facts),
            )
            for surface, (share, state) in surfaces.items():
                reason = f"plan {started.plan_hash[:12]}"
                move = Move(surface, actor, "start", started.started_ms, 0, 0, share, state, reason, started.facts)
                _record(db, started.name, move, 0.0)

    def started(self, launch: str) -> Started:
        """A launch as it was started.

        Raises:
            StoreError: There is none of this name (``store-092``).
        """
        with self._open() as db:
            row = db.execute(
                "SELECT name, plan, plan_hash, started_ms, facts FROM launches WHERE name = ?", (launch,)
            ).fetchone()
        if row is None:
            raise StoreError(
                f"found no launch {launch!r}, expected one of: {', '.join(self.names()) or 'none was started'}",
                code="store-092",
                hint="mainstem launch start",
            )
        return Started(row[0], row[1], row[2], row[3], msgspec.json.decode(row[4]))

    def names(self) -> list[str]:
        """Every launch, the oldest first."""
        with self._open() as db:
            return [name for (name,) in db.execute("SELECT name FROM launches ORDER BY started_ms, name")]

    def placements(self, launch: str = "") -> tuple[Placement, ...]:
        """Where every surface of every launch stands, or of one launch."""
        with self._open() as db:
            rows = db.execute(
                "SELECT p.launch, p.surface, p.step, p.share, p.state, p.since_ms, p.reason, p.number, l.plan"
                " FROM places p JOIN launches l ON l.name = p.launch WHERE ? IN ('', p.launch)"
                " ORDER BY l.started_ms, p.launch, p.surface",
                (launch,),
            )
            return tuple(Placement(*row) for row in rows)

    def act(self, launch: str, move: Move, seat: Seat | None = None) -> bool:
        """Does an act and takes the surface to its new place; False, and nothing is changed, when the place is another now.

        Args:
            launch: Whose.
            move: What.
            seat: The pilot's; a person acts without one.

        Raises:
            StoreError: Somebody else has the pilot's seat (``store-093``).
        """
        with self._write() as db:
            if seat is not None:
                _check_seat(db, seat)
            row = db.execute(
                "SELECT number, share FROM places WHERE launch = ? AND surface = ?", (launch, move.surface)
            ).fetchone()
            if row is None or row[0] != move.expected:
                return False
            _record(db, launch, move, row[1])
        return True

    def take_look(self, launch: str, surface: str, look: DayLook, seat: Seat) -> bool:
        """Takes a daily look for good, when nothing was to be done at it; False when it was taken already."""
        with self._write() as db:
            _check_seat(db, seat)
            return bool(
                db.execute(
                    "INSERT OR IGNORE INTO looks VALUES (?, ?, ?, ?, ?)",
                    (launch, surface, look.number, look.at_ms, look.seen),
                ).rowcount
            )

    def looks(self, launch: str, surface: str) -> list[DayLook]:
        """The daily looks at a surface, in order."""
        with self._open() as db:
            found = db.execute(
                "SELECT number, at_ms, seen FROM looks WHERE launch = ? AND surface = ? ORDER BY number",
                (launch, surface),
            )
            return [DayLook(*row) for row in found]

    def acts(self, launch: str) -> list[Entry]:
        """The audit, in order."""
        with self._open() as db:
            rows = db.execute(
                "SELECT number, at_ms, surface, actor, action, before, after, reason, evidence, digest FROM acts"
                " WHERE launch = ? ORDER BY number",
                (launch,),
            )
            return [
                Entry(*told, evidence=msgspec.json.decode(evidence), digest=digest) for *told, evidence, digest in rows
            ]

    def check(self, launch: str) -> None:
        """Is the audit whole and as it was written?

        Raises:
            StoreError: An entry is missing or was changed (``store-094``).
        """
        before = ""
        for place, entry in enumerate(self.acts(launch), 1):
            if entry.number != place or entry.digest != _digest(before, entry):
                raise StoreError(
                    f"found act {entry.number} of {launch!r} at place {place} of the audit, changed or out of its place",
                    code="store-094",
                    hint="restore the file from a copy; what the audit says of this launch can no longer be trusted",
                )
            before = entry.digest

    def sit(
        self, launch: str, holder: str, now_ms: int, for_ms: int, gone: Callable[[str], bool] = lambda holder: False
    ) -> Seat:
        """Takes the pilot's seat, or keeps it.

        Args:
            launch: Of which launch.
            holder: Who; the same holder keeps its turn.
            now_ms: The system's time, not a made one's.
            for_ms: How long it is kept without being asked for again.
            gone: Whether a holder is known to be dead, so that nobody need wait for its time to end.

        Raises:
            StoreError: Another holder has it, and its time is not over (``store-093``).
        """
        with self._write() as db:
            row = db.execute("SELECT holder, until_ms, turn FROM seats WHERE launch = ?", (launch,)).fetchone()
            if row and row[0] != holder and row[1] > now_ms and not gone(row[0]):
                raise _taken(launch, row[0], (row[1] - now_ms) / 1e3)
            turn = row[2] if row and row[0] == holder else (row[2] + 1 if row else 1)
            db.execute(
                "INSERT INTO seats VALUES (?, ?, ?, ?, 0)"
                " ON CONFLICT (launch) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms, turn = excluded.turn",
                (launch, holder, now_ms + for_ms, turn),
            )
        return Seat(launch, holder, turn)

    def rise(self, seat: Seat) -> None:
        """Gives the seat back at once; nothing happens when somebody else has it."""
        with self._write() as db:
            db.execute(
                "UPDATE seats SET until_ms = 0 WHERE launch = ? AND holder = ? AND turn = ?",
                (seat.launch, seat.holder, seat.turn),
            )

    def saw(self, seat: Seat, seen_ms: int) -> None:
        """Notes until when, in the launch's own time, the pilot has looked."""
        with self._write() as db:
            _check_seat(db, seat)
            db.execute("UPDATE seats SET seen_ms = max(seen_ms, ?) WHERE launch = ?", (seen_ms, seat.launch))

    def seat(self, launch: str) -> tuple[str, int, int]:
        """Who sits there, until when (system time) and until when it has looked; empty and 0 when nobody ever did."""
        with self._open() as db:
            row = db.execute("SELECT holder, until_ms, seen_ms FROM seats WHERE launch = ?", (launch,)).fetchone()
        return tuple(row) if row else ("", 0, 0)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call; closing it undoes what was not committed."""
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous=FULL")
                yield db
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.path, self._busy_s) from error

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


def _record(db: sqlite3.Connection, launch: str, move: Move, before: float) -> None:
    """The act, the place it leads to, its look and the new version."""
    last = db.execute(
        "SELECT number, digest FROM acts WHERE launch = ? ORDER BY number DESC LIMIT 1", (launch,)
    ).fetchone() or (0, "")
    number = last[0] + 1
    entry = Entry(
        number, move.at_ms, move.surface, move.actor, move.action, before, move.share, move.reason, move.evidence, ""
    )
    evidence = msgspec.json.encode(move.evidence, order="deterministic")
    db.execute(
        "INSERT INTO acts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            launch, number, move.at_ms, move.surface, move.actor, move.action, before, move.share, move.reason, evidence,
            _digest(last[1], entry),
        ),
    )  # fmt: skip
    db.execute(
        "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (launch, move.surface, move.step, move.share, move.state, move.at_ms, move.reason, number),
    )
    if move.look:
        look = move.look
        db.execute(
            "INSERT OR IGNORE INTO looks VALUES (?, ?, ?, ?, ?)",
            (launch, move.surface, look.number, look.at_ms, look.seen),
        )
    db.execute(f"PRAGMA user_version = {_version(db) + 1}")


def _digest(before: str, entry: Entry) -> str:
    """The hash of an act over the hash before it."""
    told = (
        before, entry.number, entry.at_ms, entry.surface, entry.actor, entry.action, entry.before, entry.after, entry.reason,
        entry.evidence,
    )  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()


def _check_seat(db: sqlite3.Connection, seat: Seat) -> None:
    row = db.execute("SELECT holder, turn FROM seats WHERE launch = ?", (seat.launch,)).fetchone()
    if row is None or (row[0], row[1]) != (seat.holder, seat.turn):
        raise _taken(seat.launch, row[0] if row else "nobody", 0.0)


def _refuse_held(db: sqlite3.Connection, surface: str) -> None:
    row = db.execute(
        "SELECT launch, state FROM places WHERE surface = ? AND state NOT IN ('landed', 'rolled back', 'stopped')",
        (surface,),
    ).fetchone()
    if row:
        raise StoreError(
            f"found surface {surface!r} in launch {row[0]!r} ({row[1]}), expected it free",
            code="store-091",
            hint=f"mainstem launch stop {row[0]}, or wait until it has landed",
        )


def _taken(launch: str, holder: str, left_s: float) -> StoreError:
    left = f" for another {left_s:.0f} s" if left_s > 0 else ""
    return StoreError(
        f"found {holder} in the pilot's seat of {launch!r}{left}, expected it free",
        code="store-093",
        hint="one pilot is enough; when it is dead its seat is free by itself after that time",
    )


def _version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]
