"""Which features the content-first ranker reads: every one declared here, once.

Its conventions: a repost is its original; an impression counts when it was viewed; windows are UTC clock hours; what is missing,
and what could not be looked up, is 0; profiles are a batch job's table, made of the log the stack started from and no fresher.
Sources, attributes and inner features come first; what the networks read follows, side by side.
"""

from __future__ import annotations

from typing import Any, Final

from mainstem.base.heads import HEADS
from mainstem.features.content_first_acts import ACTS, BITS, KEPT_ACTIONS, SESSION_GAP_MS
from mainstem.features.content_first_items import CATEGORY_SLOTS, LENGTH_SLOTS
from mainstem.features.language.aggregate import Latest, count, total
from mainstem.features.language.feature import Attribute, Context, Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.matched import Matched
from mainstem.features.language.source import Source

ACTIVITIES: Final = 6
FOLLOWS_KEPT: Final = 256
"""How many follows of a viewer are kept, the latest."""
WINDOWS: Final = ("1h", "6h", "24h")
_KEPT: Final = "30h"
"""What windows are read from is kept six hours longer than the longest, for requests about a moment that has passed."""
_HOURS: Final[dict[str, Any]] = {"align": "clock", "step": "1h", "kept": _KEPT}

_FLAGS: Final = ("past", "acts", "studied")
_COLUMNS: Final = {
    **dict.fromkeys(("user_id", "item_id", "time_ms", "viewed", *HEADS, *_FLAGS), "int64"),
    "watch_s": "float64",
}
_DERIVE: Final = {
    "seen": "past == 1 or viewed == 1",
    "did": " + ".join(f"{bit} * ({head} == 1)" for head, bit in BITS.items()),
    "everything": "0 * viewed",
}

FEEDBACK: Final = Source(
    "feedback",
    columns=_COLUMNS,  # type: ignore[arg-type]
    derive=_DERIVE,
    about="what became of shown items. `past`: from before the log, without a time. `acts`: joins the viewer's last fifty (of the "
    "past only their last fifty do). `studied`: in the log from which profiles are made.",
)
VIEWED: Final = Source(
    "viewed",
    columns=_COLUMNS,  # type: ignore[arg-type]
    derive={
        **_DERIVE,
        **{f"told_{head}": f"acts.told // {bit} % 2" for head, bit in BITS.items()},
        "watch_ms": "round(watch_s * 1000)",
        "hours_of": "original_id",
        "profile_id": "where(studied == 1, user_id, empty)",
        "profile_category": "category_slot",
        "profile_length": "length_slot",
    },
    where="known(acts.told)",
    sees=("acts.told",),
    stream="feedback",
    about="viewed impressions, and late outcomes credited to one of them: what each newly tells",
)


def _inner(name: str, of: object, over: str | tuple[str, ...] = (), **more: object) -> Feature:
    source = VIEWED if over else None
    return Feature(name, of, **{"over": over, "source": source, **more})  # type: ignore[arg-type]


def _user(name: str, of: object, unit: str, about: str, **more: object) -> Feature:
    return Feature(f"user_{name}", of, role="user", unit=unit, about=about, **more)  # type: ignore[arg-type]


def _pair(name: str, of: str, unit: str, about: str) -> Feature:
    return Feature(f"pair_{name}", of, role="cross", unit=unit, about=about)


def _item(name: str, of: str, unit: str, about: str) -> Feature:
    """A feature of known items; of an unknown one it is empty, and so 0."""
    return Feature(f"item_{name}", f"where(known(original_id), {of}, empty)", role="item", unit=unit, about=about)


def rate(hits: str, shown: str, prior: str | float, strength: float) -> str:
    """A share that starts at the prior and needs ``strength`` views to get half away from it."""
    return f"({hits} + {strength!r} * {prior}) / ({shown} + {strength!r})"


_CONTEXT: Final = (
    _inner("user_id", Context()),
    _inner("now_ms", Context(), unit="ms since 1970", about="the time of the request"),
    _inner("item_id", Context(per="candidate")),
)

_ATTRIBUTES: Final = tuple(
    _inner(name, Attribute("items", name, "item_id"))
    for name in (
        *("original_id", "creator", "category_slot", "length_slot"),
        *("length_ms", "created_ms", "is_ad", "vector", "vector_row"),
    )
)

_STATE: Final = (
    Feature(
        "acts", ACTS, over="user_id", source=FEEDBACK, about=f"the last {KEPT_ACTIONS} views, the session, two tastes"
    ),
    *(
        _inner(name, Matched(key, to, {"seen": "acts.one", "long": "acts.long"}))
        for name, key, to in (
            ("acts_of_item", "acts.item", "original_id"),
            ("acts_of_creator", "acts.creator", "creator"),
        )
    ),
    _inner("user_hours", count("seen"), "user_id", windows=WINDOWS, **_HOURS),
    *(
        _inner(f"profile_{name}", count(what), "profile_id")
        for name, what in (("seen", "seen"), ("long", "told_long_view"), ("liked", "told_like"))
    ),
    *(
        _inner(f"profile_{of}_{name}", count(what), ("profile_id", f"profile_{of}"))
        for of in ("category", "length")
        for name, what in (("seen", "seen"), ("long", "told_long_view"))
    ),
    _inner(
        "follows", Latest(FOLLOWS_KEPT, {"creator": "creator", "one": "told_follow"}, False, "told_follow"), "user_id"
    ),
    _inner("followed", Matched("follows.creator", "creator", {"times": "follows.one"})),
    _inner("seen_ever", count("seen"), "original_id"),
    _inner("long_ever", count("told_long_view"), "original_id"),
    _inner("liked_ever", count("told_like"), "original_id"),
    _inner("seen_since", count("seen and past == 0"), "original_id"),
    _inner("clicked_since", count("told_click and past == 0"), "original_id"),
    _inner("watched_ms", total("watch_ms", "seen and past == 0", scale=1.0), "original_id"),
    _inner("length_shown_ms", total("length_ms", "seen and past == 0 and known(watch_ms)", scale=1.0), "original_id"),
    _inner("item_hours", count("seen"), "hours_of", windows=WINDOWS, **_HOURS),
    _inner("item_long_hours", count("told_long_view"), "hours_of", windows=("24h",), **_HOURS),
    *(
        _inner(f"{of}_{name}", count(f"known(original_id) and {what}"), key)
        for of, key in (("creator", "creator"), ("category", "category_slot"), ("all", "everything"))
        for name, what in (("seen", "seen"), ("long", "told_long_view"))
    ),
)

_INNER: Final = (
    _inner("everything", "0 * user_id"),
    _inner(
        "hours_of",
        Attribute("items", "original_id", "item_id"),
        about="the item again: its hours stand in a table of their own",
    ),
    _inner("profile_id", "user_id"),
    *(
        _inner(f"profile_{of}", Attribute("items", f"profile_{of}", "item_id"), about="an unknown item is in slot 0")
        for of in ("category", "length")
    ),
    _inner("base_rate", rate("all_long", "all_seen", 0.3, 100.0), unit="share"),
    _inner("own_rate", rate("profile_long", "profile_seen", "base_rate", 5.0), unit="share"),
    _inner("category_rate", rate("category_long", "category_seen", "base_rate", 50.0), unit="share"),
    _inner("long_rate", rate("long_ever", "seen_ever", "category_rate", 20.0), unit="share"),
    _inner("liked_length", "sqrt(dot(acts.liked, acts.liked))"),
    _inner("passed_length", "sqrt(dot(acts.passed, acts.passed))"),
)

_USER: Final = (
    _user("profile_views", "log1p(profile_seen)", "log count", "views in the profile"),
    _user("profile_long_rate", "own_rate", "share", "long views in the profile"),
    _user("profile_like_rate", rate("profile_liked", "profile_seen", 0.02, 10.0), "share", "likes in the profile"),
    *(
        _user(f"views_{window}", f"log1p(user_hours_{window})", "log count", f"views in {window}, UTC clock hours")
        for window in WINDOWS
    ),
    _user(
        "session_views",
        f"log1p(where(now_ms - acts.last_ms <= {SESSION_GAP_MS}, acts.session_views, 0))",
        "log count",
        "views since the last pause of 30 minutes",
    ),
    _user(
        "idle_min",
        "log1p(where(acts.last_ms > 0, max(now_ms - acts.last_ms, 0) / 60000, 0))",
        "log min",
        "time since the last view",
    ),
    _user("idle_known", "acts.last_ms > 0", "0/1", "there was a view with a known time"),
    _user("actions", f"min(acts.count, {KEPT_ACTIONS})", "count", "views kept"),
    *(
        _user(name, Attribute("users", name, "user_id"), unit, about)
        for name, unit, about in (
            ("following", "log count", "accounts followed"),
            ("followers", "log count", "followers"),
            ("registered", "log days", "days since registration"),
        )
    ),
    _user("activity", Attribute("users", "activity", "user_id"), "0/1", "activity class, hashed", width=ACTIVITIES),
)

_PAIR: Final = (
    *(
        feature
        for name, of, what in (("category", "category", "category"), ("duration", "length", "length slot"))
        for feature in (
            _pair(
                f"{name}_lift",
                f"{rate(f'profile_{of}_long', f'profile_{of}_seen', 'own_rate', 4.0)} - own_rate",
                "share",
                f"long views of this {what} in the profile, beyond the viewer's own rate",
            ),
            _pair(f"{name}_views", f"log1p(profile_{of}_seen)", "log count", f"views of this {what} in the profile"),
        )
    ),
    *(
        _pair(name, f"dot(vector, acts.{of}) / where({of}_length > 0, {of}_length, 1)", "cosine", about)
        for name, of, about in (("taste", "liked", "likeness to what they enjoy"), ("distaste", "passed", "and do not"))
    ),
    _pair("item_seen", "log1p(acts_of_item.seen)", "log count", "views of the item among the last 50"),
    _pair("item_long", "acts_of_item.long > 0", "0/1", "a long view of it among them"),
    _pair("creator_seen", "log1p(acts_of_creator.seen)", "log count", "views of its creator among them"),
    _pair("creator_long", "log1p(acts_of_creator.long)", "log count", "long ones of these"),
    _pair("followed", "followed.times > 0", "0/1", "the viewer followed the creator"),
)

_ITEM: Final = (
    _item("views", "log1p(seen_ever)", "log count", "views ever"),
    _item("long_rate", "long_rate", "share", "long views, leaning on its category"),
    _item("click_rate", rate("clicked_since", "seen_since", 0.4, 20.0), "share", "clicks"),
    _item("like_rate", rate("liked_ever", "seen_ever", 0.02, 50.0), "share", "likes"),
    _item(
        "watch_share",
        f"min({rate('watched_ms / 1000', 'length_shown_ms / 1000', 0.6, 600.0)}, 3)",
        "ratio",
        "time watched by length shown",
    ),
    *(
        _item(f"views_{window}", f"log1p(item_hours_{window})", "log count", f"views in {window}, UTC clock hours")
        for window in WINDOWS
    ),
    _item("long_rate_24h", rate("item_long_hours", "item_hours_24h", "long_rate", 20.0), "share", "long views in 24h"),
    _item("creator_rate", rate("creator_long", "creator_seen", "category_rate", 20.0), "share", "its creator's"),
    _item("category_rate", "category_rate", "share", "its category's"),
    _item("seconds", "log1p(length_ms / 1000)", "log s", "length"),
    _item("age_h", "log1p(max(now_ms - created_ms, 0) / 3600000)", "log h", "time since its upload"),
    _item("ad", "is_ad", "0/1", "an advertisement"),
    *(
        Feature(
            f"item_{name}",
            Attribute("items", f"one_{name}", "item_id"),
            role="item",
            unit="0/1",
            about=f"which {what} it is in; an unknown item is in none",
            width=slots,
        )
        for name, what, slots in (("duration", "length slot", LENGTH_SLOTS), ("category", "category", CATEGORY_SLOTS))
    ),
)

CONTENT_FIRST: Final = FeatureSet((*_CONTEXT, *_ATTRIBUTES, *_INNER, *_STATE, *_USER, *_PAIR, *_ITEM))
"""All of them."""
