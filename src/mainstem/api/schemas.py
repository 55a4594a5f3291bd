"""What goes over the wire at ``/v1``, as records: the one source of checks and of ``/v1/openapi.json``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

GivenId = int | Annotated[str, Meta(min_length=1, max_length=256)]
"""A number, or a text id that the log's id table knows."""
MAX_ITEMS = 5_000


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every answer that is not 200."""

    code: str
    message: str
    request_id: str
    hint: str = ""


class RankBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks, and for how much."""

    user_id: GivenId
    count: Annotated[int, Meta(ge=0, le=500)] = 0
    """Items on the slate; 0 takes the surface's own number."""
    now_ms: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    """The time everything is computed as of; left out, it is now."""
    scenario: Annotated[int, Meta(ge=-1, le=32_767)] = -1
    item_ids: Annotated[list[GivenId], Meta(max_length=MAX_ITEMS)] | None = None
    """Left out, the stack retrieves; a list is ranked as it is."""
    request_id: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """Left out, the server names the request."""
    explain: bool = False
    """Also answer what every stage saw, kept and removed."""
    failures: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=16)] = []
    """Lookups to treat as failed, for drills; needs the token."""


class FeatureValue(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value, of the viewer or of one item."""

    name: str
    value: float | list[float]
    state: str
    """``known``, ``known to be empty`` or ``failed``."""
    unit: str = ""
    item_id: int | None = None


class FeaturesAnswer(msgspec.Struct, frozen=True):
    """What is known now."""

    now_ms: int
    as_of: int
    """Events with a smaller log offset have been applied."""
    feature_set: str
    values: list[FeatureValue]


class ReloadAnswer(msgspec.Struct, frozen=True):
    """Which definitions serve from now on."""

    features: int
    feature_set: str
    as_of: int
    seconds: float


class Item(msgspec.Struct, frozen=True):
    """One item of the slate."""

    item_id: int | str
    score: float
    propensity: float | None
    """None where an outside stack does not tell it."""


class Candidate(msgspec.Struct, frozen=True):
    """One candidate in an explained answer."""

    item_id: int
    sources: list[str]
    value: float | None
    removed_by: str
    """``kept``, ``not_ranked``, ``scored_too_low``, or the rule."""


class TraceAnswer(msgspec.Struct, frozen=True):
    """What every stage saw."""

    retrieved: int
    candidates: list[Candidate]
    timings_ms: dict[str, float]


class RankAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The slate, best first."""

    request_id: int
    surface: str
    stack: str
    now_ms: int
    items: list[Item]
    degraded: list[str] = []
    """What was slow, missing or dead, and replaced by its fallback."""
    ignored_items: list[int | str] = []
    """Items of the request that the catalog does not hold."""
    notes: list[str] = []
    """What else the caller should know: a viewer that is new here, why the slate is empty."""
    trace: TraceAnswer | None = None


class EventsAnswer(msgspec.Struct, frozen=True):
    """Every record is on disk. ``applied`` says whether this process has also taken them into its memory."""

    accepted: int
    duplicates: int
    last_offset: int
    applied: bool


class ItemAnswer(msgspec.Struct, frozen=True):
    """What holds for an item from the next request on, in every process within a quarter of a second."""

    item_id: int
    withdrawn: bool
    changed: bool
    """False when it was so already."""


class WithdrawnAnswer(msgspec.Struct, frozen=True):
    """Every item that nobody is shown until it is put back."""

    item_ids: list[int]


class BlockAnswer(msgspec.Struct, frozen=True):
    """What holds for a viewer from the next request on, in every process within a quarter of a second."""

    user_id: int
    kind: str
    """creator or item."""
    target: int
    blocked: bool
    changed: bool
    """False when it was so already."""


class BlocksAnswer(msgspec.Struct, frozen=True):
    """What a viewer is not shown until it is taken back."""

    user_id: int
    creators: list[int]
    items: list[int]


class HealthAnswer(msgspec.Struct, frozen=True):
    """The process is alive."""

    status: str
    stack: str
    surfaces: list[str]
    now_ms: int
    launches: list[str] = []
    """What is wrong with the book of launches, or with a legacy stack that they need."""


class LaunchesAnswer(msgspec.Struct, frozen=True):
    """Every launch as its pilot has told it last."""

    launches: list[dict[str, Any]]


class FlagBody(msgspec.Struct, frozen=True):
    """OFREP: for whom flags are evaluated; ``context.targetingKey`` is the viewer."""

    context: dict[str, Any]


class FlagAnswer(msgspec.Struct, frozen=True):
    """OFREP: a launch as a flag; true where the viewer is served by the unified stack."""

    key: str
    value: bool
    reason: str
    """``SPLIT`` where units are split, ``STATIC`` where they are not, ``DEFAULT`` where it could not be looked up."""
    variant: str
    """The arm; ``outside`` for no arm, ``landed`` where the launch has landed."""
    metadata: dict[str, str]


class FlagsAnswer(msgspec.Struct, frozen=True):
    """OFREP: every launch as a flag."""

    flags: list[FlagAnswer]


class FlagRefusal(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """OFREP: why a flag was not evaluated."""

    error_code: str
    """``PARSE_ERROR``, ``INVALID_CONTEXT``, ``TARGETING_KEY_MISSING`` or ``FLAG_NOT_FOUND``."""
    error_details: str
    key: str = ""


class ReadyAnswer(msgspec.Struct, frozen=True):
    """Whether requests should be sent here, and each reason why not."""

    ready: bool
    offset: int
    log_lag: int
    queue: int
    reasons: list[str]


class ShadowAnswer(msgspec.Struct, frozen=True):
    """How live answers differed from the other stacks' lately."""

    targets: list[str]
    mirrored: int
    dropped: int
    failed: int
    latest: list[dict[str, Any]]


class OfferAnswer(msgspec.Struct, frozen=True):
    """What one source thinks of the item."""

    source: str
    offered: bool
    limit: int
    reason: str
    rank: int | None = None


class RuleEffectAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one rule did to the item and to the slate."""

    rule: str
    price: float
    """Value the slate gives up to the rule: its values without the rule minus those with it."""
    effect: str = ""
    """removed, promoted or demoted when it fired on this item."""
    place_without: int | None = None
    """Where the item would stand were the rule off; absent when it would not be shown."""


class UnmetAnswer(msgspec.Struct, frozen=True):
    """A promise of the slate that could be kept only as far as possible."""

    rule: str
    name: str
    least: int
    met: int
    why: str


class ExplainAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fate of one item for one viewer."""

    item_id: int
    user_id: int
    surface: str
    now_ms: int
    outcome: str
    """shown, demoted, filtered, scored_too_low, not_ranked, not_retrieved or unknown_item."""
    sentence: str
    position: int | None = None
    value_rank: int | None = None
    value: float | None = None
    cutoff: float | None = None
    rule: str | None = None
    predictions: dict[str, float] | None = None
    terms: dict[str, float] | None = None
    features: dict[str, float] | None = None
    offers: list[OfferAnswer] = []
    rules: list[RuleEffectAnswer] = []
    unmet: list[UnmetAnswer] = []
    arm: str = ""
    degraded: list[str] = []
