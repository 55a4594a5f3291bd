"""Which features the unified ranker reads: every one declared here, once.

Rates are *lifts*: what happened against what the scenarios' base rates led to expect, each with a few expected events of
strength, so that a key of which little is known stands near its base. Sources, attributes and inner features come first; what
the ranker reads follows, side by side: the viewer's, the item's, and how the two belong together.
"""

from __future__ import annotations

from typing import Final

from mainstem.base.heads import HEADS
from mainstem.features.attributes import VECTOR_ONE
from mainstem.features.catalog import ACTIVITY_SLOTS, TRAIT_SLOTS
from mainstem.features.language.aggregate import Latest, count, total
from mainstem.features.language.feature import Attribute, Context, Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.matched import Matched
from mainstem.features.language.source import Source
from mainstem.features.statics import SCENARIO_SLOTS, STRENGTH

KEPT: Final = 50
"""How many of a user's latest events are kept."""

SURFACE_SLOTS: Final = 8
NEVER_S: Final = 30 * 86_400
"""The gap that stands for "no earlier event with a known time"."""

_LAST: Final = (1, 3, 10, 50)
_WITHIN_S: Final = (600, 3_600, 86_400, 259_200)
_LOG_NEVER: Final = 14.76803
_S: Final = {head: float(strength) for head, strength in zip(HEADS, STRENGTH, strict=True)}
_EMPTY: Final = "empty"

_COLUMNS: Final = {
    "user_id": "int64",
    "item_id": "int64",
    "surface": "int64",
    "scenario": "int64",
    "time_ms": "int64",
    **dict.fromkeys(HEADS, "int64"),
    "viewed": "int64",
    "watch_s": "float64",
    "duration_s": "float64",
}
_DERIVE: Final = {
    "watch_ratio": f"where(duration_s > 0, min(watch_s / duration_s, 2), {_EMPTY})",
    "surprise": "where(long_view >= 0, long_view - clip(base_long_view * static_lift, 0.01, 0.95), 0)",
    **{f"expected_{head}": f"where({head} >= 0, base_{head}, 0)" for head in HEADS},
}

FEEDBACK: Final = Source(
    "feedback",
    columns=_COLUMNS,  # type: ignore[arg-type]
    derive=_DERIVE,
    about="what became of shown items; an outcome is 0, 1, or -1 where the log does not know",
)
JUDGED: Final = Source(
    "judged feedback",
    columns=_COLUMNS,  # type: ignore[arg-type]
    derive={
        **_DERIVE,
        **{
            f"due_{head}": f"min(expected_{head} * (user_good_{head} + {_S[head]}) / (user_due_{head} + {_S[head]}), 0.95)"
            for head in HEADS
        },
    },
    sees=tuple(f"user_{what}_{head}" for head in HEADS for what in ("good", "due")),
    stream="feedback",
    about="the same, where the viewer's own outcomes before it also lead to expect something: an item shown to people who "
    "view everything long has to be viewed longer to stand out",
)


def _inner(name: str, of: object, **more: object) -> Feature:
    return Feature(name, of, **more)  # type: ignore[arg-type]


def _user(name: str, of: object, unit: str, about: str, default: float = 0.0, **more: object) -> Feature:
    return Feature(name, of, role="user", unit=unit, about=about, default=default, **more)  # type: ignore[arg-type]


def _item(name: str, of: object, unit: str, about: str, default: float = 0.0) -> Feature:
    return Feature(name, of, role="item", unit=unit, about=about, default=default)  # type: ignore[arg-type]


def _cross(name: str, of: str, unit: str, about: str, default: float = 0.0) -> Feature:
    return Feature(name, of, role="cross", unit=unit, about=about, default=default)


_CONTEXT: Final = (
    _inner("user_id", Context()),
    _inner("now_ms", Context(), unit="ms since 1970", about="the time of the request; below 0: unknown"),
    _inner("surface", Context(), about="code of the surface"),
    _inner("scenario", Context(), about="number of the scenario"),
    _inner("item_id", Context(per="candidate")),
)

_ATTRIBUTES: Final = (
    _inner("slot", f"where(scenario < 0, {SCENARIO_SLOTS - 1}, scenario % {SCENARIO_SLOTS - 1})"),
    *(_inner(f"base_{head}", Attribute("scenarios", head, "slot"), unit="share") for head in HEADS),
    *(_inner(f"overall_{h}", Attribute("scenarios", f"overall_{h}", "slot"), unit="share") for h in HEADS),
    _inner("utc_offset_ms", Attribute("users", "utc_offset_ms", "user_id"), unit="ms"),
    *(
        _inner(name, Attribute("items", name, "item_id"))
        for name in ("creator_id", "category_id", "created_ms", "length_bucket", "log_length", "static_lift", "vector")
    ),
)

_USER_STATE: Final = (
    _inner("user_events", count(), over="user_id", source=FEEDBACK),
    *(_inner(f"user_good_{h}", count(f"{h} == 1"), over="user_id", source=FEEDBACK) for h in HEADS),
    *(_inner(f"user_due_{h}", total(f"expected_{h}"), over="user_id", source=FEEDBACK) for h in HEADS),
    _inner(
        "kept",
        Latest(
            KEPT,
            {name: name for name in ("item_id", "click", "like", "long_view", "slot", "surface")}
            | {"watch_ratio": "watch_ratio", "surprise": "surprise"},
        ),
        over="user_id",
        source=FEEDBACK,
    ),
    *(
        _inner(f"kept_{name}", Attribute("items", name, "kept.item_id"))
        for name in ("creator_id", "category_id", "length_bucket", "log_length", "vector")
    ),
    _inner("here", "kept.slot == slot"),
    _inner("same_surface", "kept.surface == surface"),
    _inner("kept_gap_s", f"where(now_ms >= 0, max(now_ms - kept.time_ms, 0) / 1000, {_EMPTY})"),
    _inner("in_session", "run(gaps(kept_gap_s) < 1800)"),
    _inner("local_s", "(now_ms + utc_offset_ms) / 1000"),
    _inner("time_is_known", "now_ms >= 0"),
)


def _of_last(k: int) -> tuple[Feature, ...]:
    """How the last k events ended."""
    return tuple(
        _user(
            f"{head}_last_{k}",
            f"(count(first(kept.{head}, {k}) == 1) + overall_{head}) / (count(first(kept.{head}, {k}) >= 0) + 1)",
            "share",
            f"{what} among the last {k} events",
            default,
        )
        for head, what, default in (("long_view", "long views", 0.3), ("click", "clicks", 0.4))
    )


def _in_scenario(head: str, what: str, default: float) -> Feature:
    good, known = f"count(here and kept.{head} == 1)", f"count(here and kept.{head} >= 0)"
    return _user(
        f"scenario_{head}", f"({good} + 2 * base_{head}) / ({known} + 2)", "share", f"{what} in this scenario", default
    )


def _wave(name: str, of: str, seconds: int, about: str) -> tuple[Feature, ...]:
    angle = f"2 * pi * (local_s % {seconds}) / {seconds}"
    return tuple(
        _user(name.format(part), of.format(part, angle) + " * time_is_known", "", about) for part in ("sin", "cos")
    )


_USER: Final = (
    *(feature for k in _LAST for feature in _of_last(k)),
    _user(
        "like_last_50",
        "(count(kept.like == 1) + 2 * overall_like) / (count(kept.like >= 0) + 2)",
        "share",
        "likes among the last 50 events",
        0.02,
    ),
    *(
        _user(
            f"surprise_last_{k}",
            f"sum(first(kept.surprise, {k})) / (count(first(kept.long_view, {k}) >= 0) + 2)",
            "share",
            f"long views beyond expectation, last {k} events",
        )
        for k in (3, 10, 50)
    ),
    *(
        _user(
            f"watch_ratio_last_{k}",
            f"(sum(first(kept.watch_ratio, {k})) + 0.5) / (count(known(first(kept.watch_ratio, {k}))) + 1)",
            "ratio",
            f"watched / length, last {k} events",
            0.5,
        )
        for k in (1, 3, 10)
    ),
    _user("recent_count", f"count(known(kept.item_id)) / {KEPT}", "share of 50", "events kept"),
    _user("timed_count", f"count(known(kept_gap_s)) / {KEPT}", "share of 50", "events kept whose time is known"),
    _user("scenario_count", "log1p(count(here))", "log count", "kept events in this scenario"),
    _in_scenario("long_view", "long views", 0.3),
    _in_scenario("click", "clicks", 0.4),
    _user(
        "scenario_long_view_last_1",
        f"coalesce(first_value(where(here and kept.long_view >= 0, kept.long_view, {_EMPTY})), base_long_view)",
        "share",
        "long view at the last event in this scenario",
        0.3,
    ),
    _user(
        "scenario_surprise_last_3",
        "sum(where(here and so_far(here) <= 3, kept.surprise, 0)) / (min(count(here), 3) + 2)",
        "share",
        "long views beyond expectation, last 3 in this scenario",
    ),
    _user("scenario_is_last", "coalesce(at(here, 0), 0)", "0/1", "the last event was in this scenario"),
    _user("surface_count", "log1p(count(same_surface))", "log count", "kept events on this surface"),
    _user(
        "surface_surprise",
        "sum(where(same_surface, kept.surprise, 0)) / (count(same_surface) + 3)",
        "share",
        "long views beyond expectation on this surface",
    ),
    *(
        _user(
            f"gap_{k}",
            f"log1p(coalesce(at(kept_gap_s, {k - 1}), {NEVER_S}))",
            "log s",
            f"time since the latest event number {k}",
            _LOG_NEVER,
        )
        for k in (1, 2, 5)
    ),
    *(
        _user(f"events_{s}_s", f"log1p(count(kept_gap_s <= {s}))", "log count", f"events in the last {s} seconds")
        for s in _WITHIN_S
    ),
    _user("session_count", "log1p(count(in_session))", "log count", "events since the last pause of 30 minutes"),
    _user(
        "session_surprise",
        "sum(where(in_session, kept.surprise, 0)) / (count(in_session) + 2)",
        "share",
        "long views beyond expectation in this session",
    ),
    _user("streak_yes", "count(run(first(kept.long_view, 10) == 1))", "count", "long views in a row up to now"),
    _user(
        "streak_no", "count(run(first(kept.long_view, 10) == 0))", "count", "events not viewed long in a row up to now"
    ),
    _user("lifetime_count", "log1p(user_events)", "log count", "events ever applied"),
    *(
        _user(
            f"user_lift_{head}",
            f"log((user_good_{head} + {_S[head]}) / (user_due_{head} + {_S[head]}))",
            "log ratio",
            f"{head} ever, against its scenarios' rates",
        )
        for head in HEADS
    ),
    *_wave("hour_{}", "{}({})", 86_400, "local hour"),
    *_wave("hour_{}_2", "{}(2 * {})", 86_400, "local hour, second harmonic"),
    *_wave("weekday_{}", "{}({})", 604_800, "local weekday"),
    _user("time_known", "time_is_known", "0/1", "the time of the request is known"),
    *(
        _user(
            f"base_odds_{head}",
            f"log(base_{head} / (1 - base_{head}))",
            "log odds",
            "the scenario's base rate",
            default,
        )
        for head, default in (("long_view", -0.8), ("click", -0.3))
    ),
    *(
        _user(name, Attribute("users", name, "user_id"), unit, about)
        for name, unit, about in (
            ("following", "log count", "accounts followed"),
            ("followers", "log count", "followers"),
            ("registered", "log days", "days since registration"),
        )
    ),
    _user("activity", Attribute("users", "activity", "user_id"), "0/1", "activity class, hashed", width=ACTIVITY_SLOTS),
    _user(
        "scenario_is", Attribute("scenarios", "one_hot", "slot"), "0/1", "the request's scenario", width=SCENARIO_SLOTS
    ),
    *(_user(f"surface_{i}", f"surface == {i}", "0/1", "surface of the request") for i in range(SURFACE_SLOTS)),
    _user("trait", Attribute("users", "traits", "user_id"), "0/1", "anonymous traits, hashed", width=TRAIT_SLOTS),
)

_LONG: Final = _S["long_view"]
_CLICK: Final = _S["click"]
_WINDOWS: Final = ("24h", "72h")


def _state_of(what: str, over: str | tuple[str, ...], **more: object) -> tuple[Feature, ...]:
    """Long views and clicks of a key, and what was due."""
    few = [(head, part) for head in ("long_view", "click") for part in ("good", "due")]
    return tuple(
        _inner(
            f"{what}_{part}_{head}",
            count(f"{head} == 1") if part == "good" else total(f"due_{head}"),
            over=over,
            source=JUDGED,
            **more,
        )
        for head, part in few
    )


_CREATOR, _CATEGORY, _PLACE = "creator_id", "category_id", ("item_id", "surface")
_ITEM_STATE: Final = (
    _inner("item_events", count(), over="item_id", source=JUDGED),
    *(_inner(f"item_good_{h}", count(f"{h} == 1"), over="item_id", source=JUDGED) for h in HEADS),
    *(_inner(f"item_due_{h}", total(f"due_{h}"), over="item_id", source=JUDGED) for h in HEADS),
    _inner("item_watched", count("known(watch_ratio)"), over="item_id", source=JUDGED),
    _inner("item_watch_ratio", total("watch_ratio"), over="item_id", source=JUDGED),
    *(
        _inner(name, of, over="item_id", source=JUDGED, windows=_WINDOWS, align="clock", step="6h")
        for name, of in (
            ("item_lately", count()),
            ("item_good_lately", count("long_view == 1")),
            ("item_due_lately", total("due_long_view")),
        )
    ),
    _inner("place_events", count(), over=_PLACE, source=JUDGED),
    *_state_of("place", _PLACE),
    _inner("creator_events", count(), over=_CREATOR, source=JUDGED),
    *_state_of("creator", _CREATOR),
    *_state_of("category", _CATEGORY),
)


def _lift(good: str, due: str, strength: float) -> str:
    return f"log(({good} + {strength}) / ({due} + {strength}))"


def _lifts(what: str, whose: str, name: str) -> tuple[Feature, ...]:
    return tuple(
        _item(
            f"{name}_{short}",
            _lift(f"{what}_good_{head}", f"{what}_due_{head}", _LONG),
            "log ratio",
            f"{about} {whose}",
        )
        for short, head, about in (("lift", "long_view", "long views"), ("click_lift", "click", "clicks"))
    )


_ITEM: Final = (
    *(
        _item(
            f"item_lift_{head}",
            _lift(f"item_good_{head}", f"item_due_{head}", _S[head]),
            "log ratio",
            f"{head} ever, against what was due",
        )
        for head in HEADS
    ),
    _item("item_count", "log1p(item_events)", "log count", "events ever applied"),
    _item("watch_ratio", "(item_watch_ratio + 2) / (item_watched + 4)", "ratio", "mean watched / length", 0.5),
    *(
        feature
        for window in _WINDOWS
        for feature in (
            _item(f"item_count_{window}", f"log1p(item_lately_{window})", "log count", f"events in the last {window}"),
            _item(
                f"item_lift_{window}",
                _lift(f"item_good_lately_{window}", f"item_due_lately_{window}", _LONG),
                "log ratio",
                f"long views in the last {window}",
            ),
        )
    ),
    _item("place_count", "log1p(place_events)", "log count", "events on this surface"),
    *_lifts("place", "on this surface", "place"),
    _item("creator_count", "log1p(creator_events)", "log count", "events of its creator"),
    *_lifts("creator", "of its creator", "creator"),
    *_lifts("category", "of its category", "category"),
    _item(
        "age",
        "where(created_ms >= 0 and now_ms >= 0, log1p(max(now_ms - created_ms, 0) / 86400000), 2.5)",
        "log days",
        "time since upload",
        2.5,
    ),
)

_CROSS_STATE: Final = (
    _inner("filled", "known(kept.item_id)"),
    _inner(
        "judged", "known(kept_length_bucket) and kept.long_view >= 0", about="kept events that say something of an item"
    ),
    _inner("verdict", "where(judged, where(kept.long_view == 1, 1, -1), 0)"),
    _inner("own_mean", "sum(where(judged, kept.surprise, 0)) / max(count(judged), 1)"),
    _inner(
        "centred",
        "where(judged, kept.surprise - own_mean, 0)",
        about="how an event ended against the user's recent mean",
    ),
    _inner("place_in_list", "so_far(filled) - 1"),
    _inner("judged_late", "judged and place_in_list < 10"),
    _inner("centred_late", "where(place_in_list < 10, centred, 0)"),
    _inner("fresher", "1 / (1 + place_in_list / 5)", about="latest events count more"),
    _inner("judged_fresher", "judged * fresher"),
    _inner("centred_fresher", "centred * fresher"),
    _inner("kept_length_known", "where(kept_length_bucket > 0, kept_length_bucket, -1)"),
    _inner("shorter_bucket", "length_bucket - 1"),
    _inner("longer_bucket", "length_bucket + 1"),
    _inner("same_item", Matched("kept.item_id", "item_id", {"n": "filled", "verdict": "verdict"})),
    _inner("same_creator", Matched("kept_creator_id", "creator_id", {"n": "judged", "surprise": "centred"})),
    _inner(
        "same_category",
        Matched(
            "kept_category_id",
            "category_id",
            {"n": "judged", "surprise": "centred", "late_n": "judged_late", "late_surprise": "centred_late"},
        ),
    ),
    *(
        _inner(f"same_length_{at}", Matched("kept_length_known", to, {"n": "judged", "surprise": "centred"}))
        for at, to in enumerate(("shorter_bucket", "length_bucket", "longer_bucket"))
    ),
    _inner("about_as_long_n", "same_length_0.n + same_length_1.n + same_length_2.n"),
    _inner("about_as_long_surprise", "same_length_0.surprise + same_length_1.surprise + same_length_2.surprise"),
    _inner("viewed_long", "judged and kept.long_view == 1"),
    _inner("mean_log_length", "mean(where(viewed_long, kept_log_length, empty))"),
    _inner("alike", "dot(vector, kept_vector)", unit="2**-40", about="likeness of an item to each kept event"),
    _inner("alike_squared", "max(alike, 0) ** 2", unit="2**-80"),
)

_ONE: Final = float(VECTOR_ONE**2)
"""A likeness of 1, in the units of ``alike``."""


def _same(name: str, count_: str, surprise: str, strength: int, about: str) -> tuple[Feature, ...]:
    """How many kept events share something with the candidate, and how they ended."""
    return (
        _cross(f"{name}_kept", f"log1p({count_})", "log count", f"kept events {about}"),
        _cross(
            f"{name}_surprise",
            f"{surprise} / ({count_} + {strength})",
            "share",
            f"long views beyond the user's mean, {about}",
        ),
    )


_CROSS: Final = (
    _cross("seen_count", "log1p(same_item.n)", "log count", "times this item is among the kept events"),
    _cross(
        "seen_long_view",
        "same_item.verdict",
        "count",
        "long views of this item, less the ones not viewed long",
    ),
    *_same("creator", "same_creator.n", "same_creator.surprise", 1, "of its creator"),
    *_same("category", "same_category.n", "same_category.surprise", 3, "of its category"),
    _cross(
        "category_surprise_last_10",
        "same_category.late_surprise / (same_category.late_n + 3)",
        "share",
        "the same among the last 10 events",
    ),
    *_same("length", "about_as_long_n", "about_as_long_surprise", 3, "of about its length"),
    _cross(
        "length_offset",
        "where(length_bucket > 0, coalesce(abs(log_length - mean_log_length), 0), 0)",
        "log ratio",
        "its length against the mean length of long views",
    ),
    _cross(
        "alike_all",
        f"sum(alike) / {_ONE!r} / (count(known(kept_length_bucket)) + 1)",
        "cosine",
        "mean likeness to kept events",
    ),
    _cross(
        "alike_most", f"max(coalesce(max_of(alike), 0), 0) / {_ONE!r}", "cosine", "likeness to the nearest kept event"
    ),
    _cross("alike_last", f"max(coalesce(at(alike, 0), 0), 0) / {_ONE!r}", "cosine", "likeness to the latest item"),
    _cross(
        "alike_surprise",
        f"sum(alike_squared * centred) / (sum(alike_squared * judged) + {0.5 * _ONE**2!r})",
        "share",
        "long views of like items beyond the user's mean",
    ),
    _cross(
        "alike_surprise_recent",
        f"sum(alike_squared * centred_fresher) / (sum(alike_squared * judged_fresher) + {0.5 * _ONE**2!r})",
        "share",
        "the same, latest events counting more",
    ),
)

UNIFIED: Final = FeatureSet(
    (*_CONTEXT, *_ATTRIBUTES, *_USER_STATE, *_ITEM_STATE, *_CROSS_STATE, *_USER, *_ITEM, *_CROSS)
)
"""Everything the unified stack reads, and everything behind it."""
