"""Which features the unified ranker reads: every one declared here, once, with its unit and its default."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from mainstem.base.heads import HEADS
from mainstem.features.catalog import ACTIVITY_SLOTS, TRAIT_SLOTS
from mainstem.features.statics import SCENARIO_SLOTS

KEPT: Final = 50
"""How many of a user's latest events are kept."""

SURFACE_SLOTS: Final = 8
NEVER_S: Final = 30 * 86_400.0
"""The gap that stands for "no earlier event with a known time"."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column the ranker reads.

    Attributes:
        default: What it is when its lookup failed or its value is not finite.
    """

    name: str
    group: Literal["user", "item", "cross"]
    unit: str
    default: float
    about: str


def _user(name: str, unit: str, about: str, default: float = 0.0) -> Feature:
    return Feature(name, "user", unit, default, about)


def _item(name: str, unit: str, about: str, default: float = 0.0) -> Feature:
    return Feature(name, "item", unit, default, about)


def _cross(name: str, unit: str, about: str, default: float = 0.0) -> Feature:
    return Feature(name, "cross", unit, default, about)


def _slots(name: str, count: int, about: str) -> list[Feature]:
    return [_user(f"{name}_{i}", "0/1", about) for i in range(count)]


LAST: Final = (1, 3, 10, 50)
WINDOWS_S: Final = (600, 3_600, 86_400, 259_200)
LOG_NEVER: Final = 14.76803


USER: Final[tuple[Feature, ...]] = (
    *(_user(f"long_view_last_{k}", "share", f"long views among the last {k} events", 0.3) for k in LAST),
    *(_user(f"click_last_{k}", "share", f"clicks among the last {k} events", 0.4) for k in LAST),
    _user("like_last_50", "share", "likes among the last 50 events", 0.02),
    *(_user(f"surprise_last_{k}", "share", f"long views beyond expectation, last {k} events") for k in (3, 10, 50)),
    *(_user(f"watch_ratio_last_{k}", "ratio", f"watched / length, last {k} events", 0.5) for k in (1, 3, 10)),
    _user("recent_count", "share of 50", "events kept"),
    _user("timed_count", "share of 50", "events kept whose time is known"),
    _user("scenario_count", "log count", "kept events in this scenario"),
    _user("scenario_long_view", "share", "long views in this scenario", 0.3),
    _user("scenario_click", "share", "clicks in this scenario", 0.4),
    _user("scenario_long_view_last_1", "share", "long view at the last event in this scenario", 0.3),
    _user("scenario_surprise_last_3", "share", "long views beyond expectation, last 3 in this scenario"),
    _user("scenario_is_last", "0/1", "the last event was in this scenario"),
    _user("surface_count", "log count", "kept events on this surface"),
    _user("surface_surprise", "share", "long views beyond expectation on this surface"),
    *(_user(f"gap_{k}", "log s", f"time since the latest event number {k}", LOG_NEVER) for k in (1, 2, 5)),
    *(_user(f"events_{s}_s", "log count", f"events in the last {s} seconds") for s in WINDOWS_S),
    _user("session_count", "log count", "events since the last pause of 30 minutes"),
    _user("session_surprise", "share", "long views beyond expectation in this session"),
    _user("streak_yes", "count", "long views in a row up to now"),
    _user("streak_no", "count", "events without a long view in a row up to now"),
    _user("lifetime_count", "log count", "events ever applied"),
    *(_user(f"lift_{head}", "log ratio", f"{head} ever, against its scenarios' rates") for head in HEADS),
    _user("hour_sin", "", "local hour"),
    _user("hour_cos", "", "local hour"),
    _user("hour_sin_2", "", "local hour, second harmonic"),
    _user("hour_cos_2", "", "local hour, second harmonic"),
    _user("weekday_sin", "", "local weekday"),
    _user("weekday_cos", "", "local weekday"),
    _user("time_known", "0/1", "the time of the request is known"),
    _user("base_long_view", "log odds", "the scenario's base rate", -0.8),
    _user("base_click", "log odds", "the scenario's base rate", -0.3),
    _user("following", "log count", "accounts followed"),
    _user("followers", "log count", "followers"),
    _user("registered", "log days", "days since registration"),
    *_slots("activity", ACTIVITY_SLOTS, "activity class, hashed"),
    *_slots("scenario", SCENARIO_SLOTS, "scenario of the request"),
    *_slots("surface", SURFACE_SLOTS, "surface of the request"),
    *_slots("trait", TRAIT_SLOTS, "anonymous traits, hashed"),
)

ITEM: Final[tuple[Feature, ...]] = (
    *(_item(f"lift_{head}", "log ratio", f"{head} ever, against its scenarios' rates") for head in HEADS),
    _item("count", "log count", "events ever applied"),
    _item("watch_ratio", "ratio", "mean watched / length", 0.5),
    _item("count_24h", "log count", "events in the last 24 hours"),
    _item("lift_24h", "log ratio", "long views in the last 24 hours"),
    _item("count_72h", "log count", "events in the last 72 hours"),
    _item("lift_72h", "log ratio", "long views in the last 72 hours"),
    _item("surface_count", "log count", "events on this surface"),
    _item("surface_lift", "log ratio", "long views on this surface"),
    _item("surface_click_lift", "log ratio", "clicks on this surface"),
    _item("creator_count", "log count", "events of its creator"),
    _item("creator_lift", "log ratio", "long views of its creator"),
    _item("creator_click_lift", "log ratio", "clicks of its creator"),
    _item("category_lift", "log ratio", "long views of its category"),
    _item("category_click_lift", "log ratio", "clicks of its category"),
    _item("age", "log days", "time since upload", 2.5),
)

CROSS: Final[tuple[Feature, ...]] = (
    _cross("seen_count", "log count", "times this item is among the kept events"),
    _cross("seen_long_view", "share", "long views of this item, beyond the ones not viewed long"),
    _cross("creator_count", "log count", "kept events of its creator"),
    _cross("creator_surprise", "share", "long views beyond the user's mean, its creator"),
    _cross("category_count", "log count", "kept events of its category"),
    _cross("category_surprise", "share", "long views beyond the user's mean, its category"),
    _cross("category_surprise_last_10", "share", "the same among the last 10 events"),
    _cross("length_count", "log count", "kept events of about its length"),
    _cross("length_surprise", "share", "long views beyond the user's mean, about its length"),
    _cross("length_offset", "log ratio", "its length against the mean length of long views"),
    _cross("alike_all", "cosine", "mean likeness to kept events"),
    _cross("alike_most", "cosine", "likeness to the nearest kept event"),
    _cross("alike_last", "cosine", "likeness to the latest item"),
    _cross("alike_surprise", "share", "long views of like items beyond the user's mean"),
    _cross("alike_surprise_recent", "share", "the same, latest events counting more"),
)


def names(group: tuple[Feature, ...]) -> tuple[str, ...]:
    """The column names of a group, in order."""
    return tuple(feature.name for feature in group)


def columns(group: tuple[Feature, ...]) -> dict[str, int]:
    """The column of each feature of a group."""
    return {feature.name: column for column, feature in enumerate(group)}


def defaults(group: tuple[Feature, ...]) -> list[float]:
    """The default of each column of a group."""
    return [feature.default for feature in group]


def signature() -> str:
    """A hash of every name, group, unit and default: two models with the same signature read the same columns."""
    text = "\n".join(f"{f.group}|{f.name}|{f.unit}|{f.default}" for f in (*USER, *ITEM, *CROSS))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
