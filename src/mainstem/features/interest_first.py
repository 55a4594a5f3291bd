"""Which features the interest-first stack reads: every one declared here, once.

Its conventions, all told below: every *served* post counts, viewed or not; days are the viewer's own (local) days, the running one
included; what everybody did fades with a half life of 14 days by the event's own time, without steps; what is not known is *empty*,
and the ranker reads the mean of the viewer's cohort in its place.

Fading sums are kept forwards: an event weighs ``2 ** ((its time - landmark) / half life)``, a whole number of small steps, so that
sums do not depend on the order in which events come; what has faded by now is divided off when it is read. The landmark is the day
training stopped at, and moves with every training.

Source:
    Cormode, Shkapenyuk, Srivastava, Xu, Forward Decay, 2009.
"""

from __future__ import annotations

import math
from typing import Any, Final

from mainstem.features.interest_first_posts import KINDS
from mainstem.features.language.aggregate import Latest, count, largest, total
from mainstem.features.language.feature import Attribute, Context, Feature, Role
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.matched import Matched
from mainstem.features.language.source import Source

DAY_MS: Final = 86_400_000
HALF_LIFE_MS: Final = 14 * DAY_MS
KEPT: Final = 512
"""So many served posts of a user are kept at most. One more, and the older half goes at once."""
WINDOWS_DAYS: Final = (7, 30, 90)
RUNS: Final = (1, 3, 10, 30)
PROGRAM: Final = 0
"""The only row of the table of what belongs to the trained program as a whole."""

_CROWD_STRENGTH: Final = 10.0
"""So many showings the overall rate counts for."""
_OWN_STRENGTH: Final = 3.0
"""So many of the user's own showings the crowd's rate counts for."""
_RATE: Final = repr(math.log(2.0) / HALF_LIFE_MS)
_FINE: Final = float(2**40)
"""Steps per touch of one user's sums: 13 decimals, so that shares come out as they do with floats."""
CROWD_STEPS: Final = float(2**30)
"""Steps per showing of everybody's sums: 10 decimals, and room for 8.6e9 showings on the landmark's day."""

_JOINED: Final = "like == 1 or follow == 1 or comment == 1 or forward == 1"
SERVED: Final = Source(
    "served posts",
    columns={
        **dict.fromkeys(("user_id", "item_id", "surface", "scenario", "time_ms"), "int64"),
        **dict.fromkeys(("click", "like", "follow", "comment", "forward", "long_view", "logged"), "int64"),
    },
    derive={
        "joined": _JOINED,
        "depth": f"where(long_view == 1 or {_JOINED}, 1, where(click == 1, 0.4, 0))",
        "weight": f"exp((time_ms - landmark_ms) * {_RATE})",
        "learned": "listed or logged == 1",
        "history_id": "user_id",
        "topic": "interest_slot",
    },
    stream="feedback",
    about="every served post, viewed or not; `logged` is 1 for what training read and 0 since. Depth is 1 for a long view or a "
    "joining act (like, follow, comment, forward), 0.4 for a click alone, 0 without a touch; an outcome nobody knows is none",
)


def _inner(name: str, of: object, unit: str = "", about: str = "", **more: Any) -> Feature:
    return Feature(name, of, unit=unit, about=about, dtype="float64", **more)  # type: ignore[arg-type]


def _read(name: str, of: str, unit: str, about: str, role: Role) -> Feature:
    """A column of the ranker's input: empty where not known, and then the cohort's mean."""
    empty = math.nan
    return Feature(
        name,
        of,
        role=role,
        dtype="float64",
        unit=unit,
        about=about,
        default=empty,
        empty=empty,
        failed="cohort_mean",
    )


_CONTEXT: Final = (
    _inner("user_id", Context()),
    _inner("history_id", Context(), about="whose history is read: the viewer's, or -1 when its lookup failed"),
    _inner("now_ms", Context(), "ms since 1970", "the time of the request"),
    _inner("surface", Context(), about="code of the surface; -1 for one that is not known"),
    _inner("scenario", Context(), about="number of the scenario; -1 for none"),
    _inner("item_id", Context(per="candidate")),
    _inner("topic", Context(per="candidate"), about="the interest asked about: a candidate's own, or each in turn"),
)

_STATIC: Final = (
    _inner("everyone", f"{PROGRAM} * surface", about="the one key under which everything is counted"),
    _inner("landmark_ms", Attribute("program", "landmark_ms", "everyone"), "ms since 1970", "when an event weighs 1"),
    _inner("topics", Attribute("program", "topics", "everyone"), "count", "interests, the unlisted one included"),
    _inner("place", "(surface_row + 1) * 64 + clip(scenario + 1, 0, 63)", about="a surface and its scenario"),
    _inner("surface_row", Attribute("surfaces", "row", "surface"), about="as training numbered it; -1 if it knew none"),
    _inner(
        "prior_strength", Attribute("surfaces", "prior_strength", "surface"), "touches", "what the prior counts for"
    ),
    _inner("cohort", Attribute("users", "cohort", "user_id"), about="row of the viewer's cohort; 0 if not known"),
    _inner("utc_offset_ms", Attribute("users", "utc_offset_ms", "user_id"), "ms"),
    *(
        _inner(f"{kind}_slot", Attribute("posts", kind, "item_id"), about=f"number of the post's {kind}")
        for kind in KINDS[2:]
    ),
    *(_inner(name, Attribute("posts", name, "item_id")) for name in ("listed", "created_ms", "length_s", "ad")),
    _inner("cohort_topic", "cohort * topics + topic"),
    _inner("cohort_strength", Attribute("cohorts", "strength", "cohort_topic"), "touches"),
    _inner("cohort_total", Attribute("cohort_totals", "strength", "cohort"), "touches"),
    _inner("prior_topic", "where(surface_row >= 0, surface_row, trained_surfaces) * topics + topic"),
    _inner("trained_surfaces", Attribute("program", "surfaces", "everyone"), "count"),
    _inner("prior", Attribute("priors", "share", "prior_topic"), "share", "P(interest) of the surface's users"),
)

_HISTORY: Final = (
    _inner("logged_events", count("logged == 1"), over="history_id", source=SERVED),
    _inner("live_events", count("logged == 0"), over="history_id", source=SERVED),
    _inner("history_newest_ms", largest("time_ms", scale=1.0), "ms since 1970", over="history_id", source=SERVED),
    _inner("touched_total", total("depth * weight", scale=_FINE), over="history_id", source=SERVED),
    _inner("touched_topic", total("depth * weight", scale=_FINE), over=("history_id", "topic"), source=SERVED),
    _inner(
        "past",
        Latest(
            KEPT,
            {"item_id": "item_id", "place": "place", "depth": "depth", "joined": "joined"},
            by_time=False,
            scale={"place": 1.0, "depth": 10.0, "joined": 1.0},
        ),
        over="history_id",
        source=SERVED,
    ),
    _inner("past_came", f"min(logged_events, {KEPT}) + live_events", "count"),
    _inner(
        "past_places",
        f"where(past_came <= {KEPT}, past_came, {KEPT // 2 + 1} + (past_came - {KEPT + 1}) % {KEPT // 2})",
        "count",
        f"served posts that are kept: one more than {KEPT}, and the older half goes",
    ),
    _inner("past_here", "so_far(known(past.item_id)) <= past_places"),
    _inner(
        "past_days_ago",
        f"floor((now_ms + utc_offset_ms) / {DAY_MS}) - floor((past.time_ms + utc_offset_ms) / {DAY_MS})",
        "local days",
    ),
    *(
        _inner(f"past_{kind}", Attribute("posts", kind, "past.item_id"), about=f"slot of the post's {kind}")
        for kind in KINDS[2:]
    ),
    _inner("kept_all", f"where(past_here, {PROGRAM}, empty)"),
    _inner("kept_place", "where(past_here, past.place, empty)"),
    *(_inner(f"kept_{kind}", f"where(past_here, past_{kind}, empty)") for kind in KINDS[2:]),
    _inner("kept_depth", "where(past_here, past.depth, empty)", "touches"),
    _inner("kept_joined", "where(past_here, past.joined, empty)", "0/1"),
    *(
        feature
        for days in WINDOWS_DAYS
        for feature in (
            _inner(f"kept_in_{days}d", f"past_here and past_days_ago < {days}", "0/1", "the running day included"),
            _inner(f"kept_tenths_{days}d", f"where(kept_in_{days}d, round(10 * past.depth), 0)", "tenths of a touch"),
        )
    ),
    _inner("kept_shown_ms", "where(past_here, past.time_ms, empty)", "ms since 1970"),
    _inner("kept_touched_ms", "where(past_here and past.depth > 0, past.time_ms, empty)", "ms since 1970"),
)

_SHARE: Final = (
    _inner(
        "touched_fade",
        f"exp((landmark_ms - max(now_ms, coalesce(history_newest_ms, 0))) * {_RATE})",
        about="what is left by now of a touch on the landmark's day",
    ),
    _inner("topic_strength", "where(touched_total > 0, touched_topic * touched_fade, cohort_strength)", "touches"),
    _inner("all_strength", "where(touched_total > 0, touched_total * touched_fade, cohort_total)", "touches"),
    _inner(
        "topic_share",
        "(topic_strength + prior_strength * prior) / (all_strength + prior_strength)",
        "share",
        "P(interest | viewer): the viewer's touched interests, or the cohort's, smoothed by what the surface's users like",
    ),
)


def _crowd_of(kind: str, key: str, where: str) -> tuple[Feature, ...]:
    """Everybody's showings, touches and long views under one kind of key, faded to now."""
    more: dict[str, Any] = {"over": key, "source": SERVED}
    sums = {"shown": "weight", "touched": "depth * weight", "viewed": "weight * (long_view == 1)"}
    at = f"max(now_ms, coalesce({kind}_newest_ms, 0), coalesce(logged_newest_ms, 0))"
    return (
        *(_inner(f"{kind}_{what}_ever", total(of, where, CROWD_STEPS), **more) for what, of in sums.items()),
        _inner(f"{kind}_newest_ms", largest("time_ms", where, 1.0), "ms since 1970", **more),
        _inner(f"{kind}_fade", f"exp((landmark_ms - {at}) * {_RATE})"),
        *(_inner(f"{kind}_{what}", f"{kind}_{what}_ever * {kind}_fade", "showings") for what in sums),
    )


def _against_all(kind: str) -> tuple[Feature, ...]:
    """Showings and touches of a kind of key with a few of everybody's added."""
    return (
        _inner(f"{kind}_smooth_shown", f"{kind}_shown + {_CROWD_STRENGTH}", "showings"),
        *(
            _inner(f"{kind}_smooth_{what}", f"{kind}_{what} + {_CROWD_STRENGTH} * usual_{what}", "showings")
            for what in ("touched", "viewed")
        ),
    )


_KEYS: Final = dict(zip(KINDS, ("everyone", "place", *(f"{kind}_slot" for kind in KINDS[2:])), strict=True))
_CROWD_STATE: Final = (
    _inner("logged_newest_ms", largest("time_ms", "logged == 1", 1.0), over="everyone", source=SERVED),
    *(
        feature
        for kind, key in _KEYS.items()
        for feature in _crowd_of(kind, key, "" if kind in KINDS[:2] else "learned")
    ),
    _inner("usual_touched", "(all_touched + 3) / (all_shown + 8)", "share", "touches of everything served"),
    _inner("usual_viewed", "(all_viewed + 3) / (all_shown + 8)", "share", "long views of everything served"),
    *(feature for kind in KINDS for feature in _against_all(kind)),
)

_OWN_STATE: Final = tuple(
    _inner(
        f"own_{kind}",
        Matched(
            f"kept_{kind}",
            key,
            sums={
                f"{what}_{days}d": f"kept_{name}_{days}d"
                for what, name in (("shown", "in"), ("tenths", "tenths"))
                for days in WINDOWS_DAYS
            },
            largest={"shown_ms": "kept_shown_ms", "touched_ms": "kept_touched_ms"},
        ),
        about=f"the viewer's kept posts of the candidate's {kind}",
    )
    for kind, key in _KEYS.items()
)

_POST: Final = (
    _read(
        "age",
        f"where(created_ms > 0, log1p(max(now_ms - created_ms, 0) / {DAY_MS}), empty)",
        "log days",
        "time since it was posted",
        "item",
    ),
    _read("length", "where(length_s > 0, log1p(length_s), empty)", "log s", "how long it is", "item"),
    _read("is_ad", "ad", "0/1", "it is an advertisement", "item"),
    _read("interest_share", "log(topic_share)", "log share", "P(its interest | viewer)", "cross"),
)
_CROWD: Final = (
    *(
        _read(
            f"crowd_{name}_{kind}",
            f"log({kind}_smooth_{what} / ({kind}_smooth_shown - {kind}_smooth_{what}))",
            "log odds",
            f"{about} of its {kind} by everybody",
            "item",
        )
        for name, what, about in (("touch", "touched", "touches"), ("long_view", "viewed", "long views"))
        for kind in KINDS[1:]
    ),
    *(
        _read(f"crowd_served_{kind}", f"log1p({kind}_shown)", "log showings", f"showings of its {kind}", "item")
        for kind in KINDS[1:]
    ),
)


def _own(kind: str) -> tuple[Feature, ...]:
    """What the viewer did lately with things of one kind."""
    usual = f"({_OWN_STRENGTH} * {kind}_smooth_touched / {kind}_smooth_shown)"
    shown = f"own_{kind}.shown_{{}}d"
    return (
        *(
            _read(
                f"own_lift_{days}d_{kind}",
                f"where({shown.format(days)} > 0, log((0.1 * own_{kind}.tenths_{days}d + {usual}) / "
                f"({usual} * ({shown.format(days)} / {_OWN_STRENGTH} + 1))), empty)",
                "log ratio",
                f"the viewer's touches of its {kind} against everybody's, in {days} local days",
                "cross",
            )
            for days in WINDOWS_DAYS
        ),
        _read(
            f"own_served_{kind}",
            f"where(past_places > 0, log1p({shown.format(WINDOWS_DAYS[-1])}), empty)",
            "log showings",
            f"showings of its {kind} to the viewer in {WINDOWS_DAYS[-1]} local days",
            "cross",
        ),
        *(
            _read(
                f"own_since_{what}_{kind}",
                f"log1p(max(now_ms - own_{kind}.{what}_ms, 0) / 3600000)",
                "log hours",
                f"since its {kind} was last {what} by the viewer"
                if what == "touched"
                else f"since its {kind} was shown",
                "cross",
            )
            for what in ("shown", "touched")
        ),
    )


_DEPTH: Final = tuple(
    _read(f"depth_last_{run}", f"mean(first(kept_depth, {run}))", "touches", f"mean depth of the last {run}", "user")
    for run in RUNS
)

INTEREST_FIRST: Final = FeatureSet(
    (
        *_CONTEXT,
        *_STATIC,
        *_HISTORY,
        *_SHARE,
        *_CROWD_STATE,
        *_OWN_STATE,
        *_POST,
        *_CROWD,
        *(feature for kind in KINDS for feature in _own(kind)),
        *_DEPTH,
    )
)
"""Everything the interest-first stack reads, and everything behind it."""

SIGNALS: Final = tuple(
    column for feature in INTEREST_FIRST if feature.failed == "cohort_mean" for column in feature.columns
)
"""The columns of the ranker's input, in the order its means and weights were trained in."""
