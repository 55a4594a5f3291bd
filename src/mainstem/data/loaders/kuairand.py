"""What was shown on Kuaishou: KuaiRand-Pure, from the official CSV files or from the same rows in Parquet.

Source: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos", CIKM 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from mainstem.base.errors import DataError
from mainstem.data.manifest import Manifest
from mainstem.data.sources import (
    EARLIEST_MS,
    LATEST_MS,
    Loaded,
    Progress,
    count_reasons,
    number_requests,
    read_frame,
    silent,
    split_drops,
)

SURFACES: Final[dict[str, tuple[int, ...]]] = {"pages": (0, 6), "groups": (2, 4)}
"""Our choice, not Kuaishou's: ``tab`` is an anonymised scenario. Every other tab is the feed."""

UTC_OFFSET_MIN: Final = 480
_RAW: Final[dict[str, pl.DataType]] = {
    "user_id": pl.Int64(),
    "video_id": pl.Int64(),
    "date": pl.Int32(),
    "hourmin": pl.Int32(),
    "time_ms": pl.Int64(),
    **{
        name: pl.Int8()
        for name in ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view")
    },
    "play_time_ms": pl.Int64(),
    "duration_ms": pl.Int64(),
    "profile_stay_time": pl.Int64(),
    "comment_stay_time": pl.Int64(),
    "is_profile_enter": pl.Int8(),
    "is_rand": pl.Int8(),
    "tab": pl.Int16(),
}
_KEY: Final = ("user_id", "video_id", "time_ms", "tab")
_HEADS: Final = {
    "click": "is_click",
    "like": "is_like",
    "follow": "is_follow",
    "comment": "is_comment",
    "forward": "is_forward",
    "hate": "is_hate",
    "long_view": "long_view",
}
_TRAITS: Final = tuple(f"onehot_feat{n}" for n in range(18))
_USER_TYPES: Final[dict[str, pl.DataType]] = {
    "user_id": pl.Int64(),
    "user_active_degree": pl.String(),
    **{name: pl.Float64() for name in ("follow_user_num", "fans_user_num", "register_days", *_TRAITS)},
}
_NOTES: Final = [
    "tab to surface is Mainstem's choice: pages = tabs 0 and 6, groups = tabs 2 and 4, feed = the rest",
    "viewed = play time above 0, or a click",
    "integrity is 0 for every video in the side file: the log has no violation labels",
    "history times are an upper bound: the user's last known time before the log",
]


def recognises(folder: Path) -> bool:
    """Is this a KuaiRand folder: has it a standard log and the official side files?"""
    inner = files_folder(folder)
    return folder.is_dir() and bool(log_files(inner)) and _side(inner, "user_features") is not None


def files_folder(folder: Path) -> Path:
    """Where the files of an unpacked archive are: the official one keeps them in ``data``, beside its loading scripts."""
    inner = folder / "data"
    return inner if inner.is_dir() and log_files(inner) and not log_files(folder) else folder


def log_files(folder: Path, *, random: bool = False) -> list[Path]:
    """The impression files of a folder, in the order of their names (which is the order of their days)."""
    kind = "random" if random else "standard"
    found = [path for end in ("csv", "parquet") for path in folder.glob(f"log_{kind}_*.{end}")]
    return sorted(found, key=lambda path: path.name)


def load(
    folder: Path,
    *,
    include_random: bool = False,
    surfaces: dict[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
) -> Loaded:
    """The log tables of a KuaiRand folder.

    Args:
        include_random: Also take ``log_random_*``: items shown at random instead of by the ranker. Left out by default,
            because its rates are not those of a ranked feed; when taken, its rows have ``arm`` = ``random``.
        surfaces: Tabs of each surface; tabs named nowhere are the feed. Default: ``SURFACES``.
    """
    folder = files_folder(folder)
    files = log_files(folder) + (log_files(folder, random=True) if include_random else [])
    if not files:
        raise DataError(
            f"found no log_standard_*.csv or .parquet in {folder}, expected the KuaiRand-Pure files",
            code="data-001",
            hint="docs/guides/data.md says where the official files are",
        )
    progress(0.0, "reading impressions")
    raw = pl.concat([read_rows(path) for path in files])
    progress(0.3, "dropping repeats")
    kept, dropped = _drop(raw)
    if kept.is_empty():
        raise DataError(
            f"found no row of {raw.height} in {folder} that names an impression: {count_reasons(dropped)}",
            code="data-015",
            hint="mainstem data check PATH shows example rows",
        )
    impressions = _impressions(kept, surfaces or SURFACES)
    progress(0.6, "reading users, videos and history")
    history = _history(folder, impressions)
    items = _items(folder, impressions, history)
    users = _users(folder, impressions)
    progress(1.0, "read")
    manifest = Manifest(
        name="KuaiRand-Pure",
        loader="kuairand",
        licence="CC BY-SA 4.0",
        source_files=[path.name for path in files],
        rows_in=raw.height,
        dropped=count_reasons(dropped),
        utc_offset_min=UTC_OFFSET_MIN,
        notes=list(_NOTES),
        facts={"include_random": include_random},
    )
    tables = {"impressions": impressions, "items": items, "users": users, "history": history, "dropped": dropped}
    return Loaded(tables, manifest)


def read_rows(path: Path) -> pl.DataFrame:
    """The official 19 columns of one impression file, with the file's name and the row's place in it."""
    frame = read_frame(path, columns=_RAW)
    missing = [name for name in _RAW if name not in frame.columns]
    if missing:
        raise DataError(
            f"found no column {missing[0]!r} in {path}, expected the 19 official KuaiRand columns",
            code="data-003",
            hint="keep the official files as they are",
        )
    return frame.select(
        *(pl.col(name).cast(dtype) for name, dtype in _RAW.items()),
        file=pl.lit(path.name),
        row=pl.int_range(pl.len(), dtype=pl.Int64),
    )


def _drop(raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that name no impression, then rows that repeat one (whole row, or only the hour or a late count differs)."""
    bad_time = (pl.col("time_ms") < EARLIEST_MS) | (pl.col("time_ms") > LATEST_MS) | pl.col("time_ms").is_null()
    bad_id = (
        pl.any_horizontal(pl.col("user_id", "video_id") < 0)
        | pl.col("user_id").is_null()
        | pl.col("video_id").is_null()
    )
    kept, bad = split_drops(raw, [("bad_id", bad_id), ("bad_time", bad_time)])
    shared = kept.select(pl.struct(_KEY).is_duplicated()).to_series()
    twins = kept.filter(shared)
    twins = twins.with_columns(
        reason=pl.when(~pl.struct(list(_RAW)).is_first_distinct())
        .then(pl.lit("exact_duplicate"))
        .when(~pl.struct(_KEY).is_first_distinct())
        .then(pl.lit("repeated_impression"))
    )
    repeated = twins.filter(pl.col("reason").is_not_null())
    firsts = twins.filter(pl.col("reason").is_null()).drop("reason")
    return pl.concat([kept.filter(~shared), firsts]).sort("file", "row"), pl.concat([bad, repeated])


def _impressions(kept: pl.DataFrame, surfaces: dict[str, tuple[int, ...]]) -> pl.DataFrame:
    surface = pl.lit("feed")
    for name, tabs in surfaces.items():
        surface = pl.when(pl.col("tab").is_in(list(tabs))).then(pl.lit(name)).otherwise(surface)
    numbered = number_requests(kept, ("time_ms", "user_id", "tab"))
    return numbered.select(
        "request_id",
        "user_id",
        pl.col("video_id").alias("item_id"),
        surface.alias("surface"),
        pl.col("tab").alias("scenario"),
        "time_ms",
        pl.col("date").alias("day"),
        "position",
        ((pl.col("play_time_ms") > 0) | (pl.col("is_click") == 1)).cast(pl.Int8).alias("viewed"),
        *(pl.col(raw).alias(head) for head, raw in _HEADS.items()),
        pl.col("play_time_ms").alias("watch_ms"),
        "duration_ms",
        pl.when(pl.col("is_rand") == 1).then(pl.lit("random")).alias("arm"),
    )


def _history(folder: Path, impressions: pl.DataFrame) -> pl.DataFrame:
    """Earlier impressions, only while the log itself does not hold them (the pack leaves the first days out)."""
    labels = sorted(folder.glob("history_labels_reconstructed_*.parquet"))
    users = sorted(folder.glob("user_history_seq_*.parquet"))
    if not labels or not users:
        return pl.DataFrame()
    last = read_frame(users[-1]).select(pl.col("user_id").cast(pl.Int64), pl.col("last_time_ms").alias("time_ms"))
    days_apart = (pl.col("time_ms").max() - impressions.get_column("time_ms").min()) / 86_400_000
    if last.select(days_apart).item() > 1:
        return pl.DataFrame()
    rows = read_frame(labels[-1]).select(
        pl.col("user_id").cast(pl.Int64),
        pl.col("video_id").cast(pl.Int64).alias("item_id"),
        pl.col("back").cast(pl.Int32),
        "long_view",
        pl.col("is_like").alias("like"),
    )
    return _before_the_log(rows.join(last, on="user_id", how="inner"), impressions)


def _before_the_log(history: pl.DataFrame, impressions: pl.DataFrame) -> pl.DataFrame:
    """The history without what the log shows itself: a bound at a user's first impression says that it is the latest.

    For those users (three in the pack) the latest row goes, and the others are bounded by the moment before.
    """
    first = impressions.group_by("user_id").agg(first_ms=pl.col("time_ms").min())
    late = (pl.col("time_ms") >= pl.col("first_ms")).fill_null(False)
    joined = history.join(first, on="user_id", how="left").filter(~(late & (pl.col("back") == 0)))
    return joined.with_columns(
        back=pl.col("back") - late.cast(pl.Int32),
        time_ms=pl.when(late).then(pl.col("first_ms") - 1).otherwise("time_ms"),
    ).drop("first_ms")


def _items(folder: Path, impressions: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    videos = read_frame(_needed(folder, "video_features_basic"), columns={"tag": pl.String()})
    upload_ms = pl.col("upload_dt").cast(pl.String).str.to_date("%Y-%m-%d").cast(pl.Datetime("ms")).cast(pl.Int64)
    tags = pl.col("tag").fill_null("").str.extract_all(r"\d+").cast(pl.List(pl.Int32))
    known = videos.select(
        pl.col("video_id").cast(pl.Int64).alias("item_id"),
        pl.col("author_id").cast(pl.Int64).fill_null(-1).alias("creator_id"),
        (upload_ms - UTC_OFFSET_MIN * 60_000).alias("created_ms"),
        pl.col("video_duration").cast(pl.Int64).fill_null(0).alias("duration_ms"),
        pl.col("video_type").fill_null("UNKNOWN").alias("kind"),
        tags.alias("tags"),
        pl.when(pl.col("music_id") > 0).then("music_id").otherwise(-1).cast(pl.Int64).alias("audio_id"),
        pl.lit(0, dtype=pl.Int8).alias("integrity"),
    ).with_columns(category=pl.col("tags").list.first().fill_null(-1))
    both = pl.concat([known, _without_attributes(known, impressions, history)], how="diagonal")
    first_ms = pl.lit(impressions.get_column("time_ms").min(), dtype=pl.Int64)
    return both.with_columns(
        pl.col("created_ms").fill_null(first_ms), canonical_id=pl.col("item_id"), entity_id=pl.col("creator_id")
    )


def _without_attributes(known: pl.DataFrame, impressions: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Items that were shown but have no side row; when uploaded is unknown, so their first showing stands in."""
    seen = [frame.select("item_id", "time_ms") for frame in (impressions, history) if frame.height]
    shown = pl.concat(seen).group_by("item_id").agg(created_ms=pl.col("time_ms").min())
    return shown.join(known, on="item_id", how="anti").with_columns(
        creator_id=pl.lit(-1, dtype=pl.Int64),
        duration_ms=pl.lit(0, dtype=pl.Int64),
        kind=pl.lit("UNKNOWN"),
        category=pl.lit(-1, dtype=pl.Int32),
        tags=pl.lit([], dtype=pl.List(pl.Int32)),
        audio_id=pl.lit(-1, dtype=pl.Int64),
    )


def _users(folder: Path, impressions: pl.DataFrame) -> pl.DataFrame:
    side = read_frame(_needed(folder, "user_features"), columns=_USER_TYPES, only=tuple(_USER_TYPES))
    traits = pl.concat_list(pl.col(name).cast(pl.Float64).fill_null(-1).cast(pl.Int16) for name in _TRAITS)
    known = side.select(
        pl.col("user_id").cast(pl.Int64),
        pl.col("user_active_degree").fill_null("UNKNOWN").alias("activity"),
        pl.col("follow_user_num").cast(pl.Int64).fill_null(0).alias("following_count"),
        pl.col("fans_user_num").cast(pl.Int64).fill_null(0).alias("follower_count"),
        pl.col("register_days").cast(pl.Int64).fill_null(-1).alias("registered_days"),
        traits.alias("traits"),
    )
    unknown = impressions.select("user_id").unique().join(known, on="user_id", how="anti")
    both = pl.concat([known, unknown.select("user_id")], how="diagonal")
    return both.with_columns(
        pl.col("activity").fill_null("UNKNOWN"),
        pl.col("following_count", "follower_count").fill_null(0),
        pl.col("registered_days").fill_null(-1),
        pl.col("traits").fill_null(pl.lit([-1] * len(_TRAITS), dtype=pl.List(pl.Int16))),
        utc_offset_min=pl.lit(UTC_OFFSET_MIN, dtype=pl.Int16),
    )


def _side(folder: Path, start: str) -> Path | None:
    found = [path for end in ("csv", "parquet") for path in sorted(folder.glob(f"{start}*.{end}"))]
    return found[0] if found else None


def _needed(folder: Path, start: str) -> Path:
    path = _side(folder, start)
    if path is None:
        raise DataError(
            f"found no {start}_pure.csv in {folder}, expected the official side file",
            code="data-001",
            hint="docs/guides/data.md says where the official files are",
        )
    return path
