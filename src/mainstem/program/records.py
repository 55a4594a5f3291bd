"""What a plan is made of: the records of ``program.toml``, one table a kind, one id a record.

The records are the register of the file: the published JSON schema and the reference page are made from them.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec

Days = float | str
"""Working days as a number, or with a unit: ``"8d"``, ``"2w"`` (a week is five working days)."""

QUANTILES: Final = (0.1, 0.5, 0.9)
"""What the three points of a duration are: one time in ten it takes less than the first, and more than the last."""


FORMS: Final = ("weekly", "one-pager", "launch-note", "deck")
"""The forms a report can have."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A table of the plan that refuses names it does not know."""


class Head(Record, frozen=True, kw_only=True):
    """The plan as a whole."""

    name: str
    """What the program is called."""
    start: date
    """The first day on which anything may start."""
    as_of: date | None = None
    """What is not done by this day cannot have ended before it."""
    holidays: list[date] = []
    """Days, beside Saturdays and Sundays, on which nobody works."""
    correlation: float = 0.3
    """How much tasks of one workstream are late together: 0 not at all, 1 always."""


class Owner(Record, frozen=True, kw_only=True):
    """Who answers for something."""

    name: str = ""
    """As people call them."""
    team: str = ""
    """Which team."""
    escalates_to: str = ""
    """Owner who hears next."""


class Workstream(Record, frozen=True, kw_only=True):
    """Tasks that one team answers for, and that are late together."""

    name: str = ""
    """As people call it."""
    owner: str = ""
    """Owner of what has none of its own."""


class Task(Record, frozen=True, kw_only=True):
    """One piece of work."""

    name: str = ""
    """As people call it."""
    workstream: str = ""
    """Whose it is."""
    owner: str = ""
    """Who answers for it; the workstream's owner when empty."""
    duration: list[Days]
    """Working days: one certain number, or what one time in ten is beaten, half the time, nine times in ten."""
    after: list[str] = []
    """Tasks and milestones that end before this starts; ``id+3`` waits three days more."""
    needs: dict[str, float] = {}
    """How much of each pool it holds while it runs."""
    not_before: date | None = None
    """The earliest start."""
    started: date | None = None
    """When it began."""
    done: date | None = None
    """When it ended."""


class Gate(Record, frozen=True, kw_only=True):
    """One record that a milestone must show before it opens."""

    kind: str
    """parity, launch, slo, capacity, rollback, responsible, or a word of your own."""
    about: str = ""
    """Of what: a surface, or the id of an SLO."""
    at_least: float | None = None
    """The value's lower bound."""
    at_most: float | None = None
    """The value's upper bound."""
    max_age_days: float = 14.0
    """Older evidence is stale."""
    openslo: str = ""
    """An OpenSLO file in the plan's folder, which then says what the gate is about and its lower bound."""
    real: bool = False
    """Whether evidence of a made world leaves it grey."""


class Milestone(Record, frozen=True, kw_only=True):
    """A day that people wait for."""

    name: str = ""
    """As people call it."""
    workstream: str = ""
    """Whose it is."""
    owner: str = ""
    """Who answers for it."""
    after: list[str] = []
    """What ends before it."""
    due: date | None = None
    """The promised day."""
    frozen: bool = False
    """It cannot land in a freeze window."""
    gates: list[Gate] = []
    """What must have been shown."""
    done: date | None = None
    """When it was reached."""


class Pool(Record, frozen=True, kw_only=True):
    """Something there is only so much of: people of a kind, GPUs."""

    size: float
    """How much there is at once."""
    unit: str = ""
    """Of what, such as ``GPU``."""


class Freeze(Record, frozen=True, kw_only=True):
    """Days on which nothing lands."""

    first: date
    """The first such day."""
    last: date
    """The last such day."""
    why: str = ""
    """The reason, as reports print it."""


class Risk(Record, frozen=True, kw_only=True):
    """Something that may happen, and then moves dates."""

    name: str = ""
    """As people call it."""
    owner: str = ""
    """Who answers for it."""
    chance: float
    """That it happens, 0 to 1."""
    delay: list[Days]
    """Days added to each of ``tasks``: one certain number or three quantiles."""
    tasks: list[str]
    """What becomes longer."""
    review: date | None = None
    """When somebody looks again."""
    closed: date | None = None
    """When it went away."""


class Blocker(Record, frozen=True, kw_only=True):
    """Something that stands in the way now."""

    name: str = ""
    """As people call it."""
    blocks: list[str]
    """Tasks or milestones that wait."""
    owner: str
    """Who removes it."""
    since: date
    """When it was found."""
    escalate_after_days: float = 3.0
    """Calendar days until the owner's ``escalates_to`` hears."""
    closed: date | None = None
    """When it was gone."""


class Goal(Record, frozen=True, kw_only=True):
    """A number for a half-year."""

    name: str = ""
    """As people call it."""
    owner: str = ""
    """Who answers for it."""
    half: str
    """Such as ``2026H2``."""
    unit: str
    """Of the target and of every actual value."""
    target: float
    """What is to be reached."""
    actual: float | None = None
    """What has been measured; absent is said to be absent."""
    milestones: list[str] = []
    """What brings it about."""


class Decision(Record, frozen=True, kw_only=True):
    """A decision as a MADR record has it."""

    title: str
    """The question and its answer."""
    status: str = "proposed"
    """proposed, accepted, rejected or superseded."""
    on: date | None = None
    """When."""
    owner: str = ""
    """Who decided."""
    context: str = ""
    """Why it had to be decided."""
    options: list[str] = []
    """What was on the table."""
    outcome: str = ""
    """What was chosen, and why."""


class Change(Record, frozen=True, kw_only=True):
    """A change of the plan: what, by whom and why."""

    on: date
    """When."""
    owner: str
    """Who changed it."""
    why: str
    """The reason, as ``mainstem program moved`` prints it."""
    moves: list[str]
    """Records that changed."""


class Assumption(Record, frozen=True, kw_only=True):
    """Something taken as true."""

    text: str
    """What."""
    owner: str = ""
    """Who would know."""
    review: date | None = None
    """When somebody looks again."""


class Message(Record, frozen=True, kw_only=True):
    """One line of the communication plan."""

    audience: str
    """Who hears."""
    form: str
    """weekly, one-pager, launch-note or deck."""
    every_days: float = 7.0
    """How often; of a launch note, how many days before the promised day."""
    first: date | None = None
    """The first day; the program's start when empty."""
    milestones: list[str] = []
    """What a launch note is about; every promised milestone when empty."""
    owner: str = ""
    """Who sends it."""


class Program(Record, frozen=True, kw_only=True):
    """A whole plan; each table is keyed by the records' ids."""

    program: Head
    owners: dict[str, Owner] = {}
    workstreams: dict[str, Workstream] = {}
    tasks: dict[str, Task] = {}
    milestones: dict[str, Milestone] = {}
    pools: dict[str, Pool] = {}
    freezes: dict[str, Freeze] = {}
    risks: dict[str, Risk] = {}
    blockers: dict[str, Blocker] = {}
    goals: dict[str, Goal] = {}
    decisions: dict[str, Decision] = {}
    changes: dict[str, Change] = {}
    assumptions: dict[str, Assumption] = {}
    messages: dict[str, Message] = {}

    def owner_of(self, name: str) -> str:
        """Who answers for a task, milestone, risk, blocker or goal: its own owner, else its workstream's, else nobody."""
        for kind in (self.tasks, self.milestones, self.risks, self.blockers, self.goals):
            if name in kind:
                one = kind[name]
                stream = self.workstreams.get(getattr(one, "workstream", ""))
                return one.owner or (stream.owner if stream else "")
        return ""


TABLES: Final = tuple(name for name in Program.__struct_fields__ if name != "program")
"""The kinds of record, in the order in which they are written."""
