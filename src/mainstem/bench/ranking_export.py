"""``python -m mainstem.bench.ranking_export JOB.json``: the rows of a ranking protocol, written once for every system.

Our ranker and every peer learn from the same rows with the same features, and are judged on the same rows whose features
are as of the same moments.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import MainstemError
from mainstem.base.heads import HEADS, SURFACES
from mainstem.bench.process import Stopwatch, read_job, write_answer
from mainstem.bench.ranking_log import DAYS, REGIMES, RankingLog, Regime, settings
from mainstem.data.importer import import_log
from mainstem.evaluate.rows import popularity, train_counts
from mainstem.features.catalog import Catalog
from mainstem.features.timeline import Timeline, Values
from mainstem.ranking.lesson import Lesson, lesson, timeline

IDS: Final = ("user", "item", "creator", "category", "scenario")
"""The five fields of the factorisation machine; networks have them beside the features."""


def main(path: str) -> int:
    """Does one job; a refusal is told with its code."""
    job = read_job(path)
    try:
        write_answer(job, _exported(job))
    except MainstemError as error:
        write_answer(job, {"why": error.message, "card": {"code": error.code, "hint": error.hint}})
        return 1
    return 0


def _exported(job: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the log folder where it is missing, the rows, and what names them."""
    watch = Stopwatch()
    folder, place = Path(job["folder"]), Path(job["log"])
    if not (place / "impressions.parquet").is_file():
        import_log(Path(job["data"]), place)
    rows = RankingLog.open(place, DAYS[job["protocol"]])
    taught = lesson_of(rows)
    _write_train(folder, taught)
    _write_judged(folder, rows, taught)
    names = [name for side in ("user", "item", "cross") for name in taught.features.columns_of(side)]
    told = {"columns": names, "ids": list(IDS), "heads": list(HEADS), "sizes": _sizes(taught.catalog)}
    (folder / "about.json").write_bytes(msgspec.json.encode(told))
    return {"fit_cpu_s": watch.seconds(), "card": _facts(rows, taught) | {"columns": len(names)}}


def lesson_of(rows: RankingLog) -> Lesson:
    """The lesson every system learns: training rows, and the validation days to stop by."""
    chosen = settings()
    return lesson(
        rows.log.items,
        rows.log.users,
        rows.taught,
        rows.log.history,
        rows.stop_day,
        tuple(chosen.served()),
        chosen.training.feedback_delay_ms,
        most_rows=rows.days.most_rows,
    )


def _write_train(folder: Path, taught: Lesson) -> None:
    """The training rows: features, ids, outcomes (-1 where unknown), users, and what each row counts."""
    kept, values = taught.train, taught.values
    feedback = taught.feedback.take(kept)
    _save(
        folder,
        train_x=_features(values)[kept],
        train_ids=_ids(taught.catalog, values, taught.feedback.scenario)[kept],
        train_y=feedback.outcomes,
        train_user=values.user_row[kept],
        train_timed=taught.timed[kept],
        train_time=feedback.time_ms,
    )


def _write_judged(folder: Path, rows: RankingLog, taught: Lesson) -> None:
    """The judged rows: ids and outcomes once, features once a regime."""
    log, chosen = rows.log, settings()
    surfaces = tuple(chosen.served())
    line = timeline(
        taught.catalog, taught.statics, log.impressions, log.history, surfaces, chosen.training.feedback_delay_ms
    )
    frame = log.impressions.filter(pl.Series(rows.judged))
    _save(folder, **_judged_columns(rows, frame))
    for regime in REGIMES:
        x, ids = _judged_inputs(line, rows, taught.catalog, regime)
        _save(folder, **{f"judged_x_{regime}": x, "judged_ids": ids})


def _judged_inputs(
    line: Timeline, rows: RankingLog, catalog: Catalog, regime: Regime
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Features and ids of the judged rows, group by group as each group's state is known."""
    first = len(line.feedback) - rows.log.impressions.height
    at, features, ids = [], [], []
    for mask, known_until_ms in rows.moments(regime):
        asked = first + np.flatnonzero(mask)
        values = line.values(asked, known_until_ms)
        at.append(np.flatnonzero(mask))
        features.append(_features(values))
        ids.append(_ids(catalog, values, line.feedback.scenario[asked]))
    back = np.argsort(np.concatenate(at))
    return np.concatenate(features)[back], np.concatenate(ids)[back]


def _judged_columns(rows: RankingLog, frame: pl.DataFrame) -> Mapping[str, NDArray[Any]]:
    log, judged = rows.log, rows.judged
    known = ~judged & (log.impressions["day"].to_numpy() < rows.days.validation[0])
    items, liked = log.impressions["item_id"], log.impressions["long_view"].cast(pl.Float64).fill_null(np.nan)
    if log.history.height:
        items = pl.concat([items, log.history["item_id"]])
        liked = pl.concat([liked, log.history["long_view"].cast(pl.Float64).fill_null(np.nan)])
        known = np.concatenate([known, np.ones(log.history.height, bool)])
    item = items.to_numpy()
    codes = {name: at for at, name in enumerate(SURFACES)}
    return {
        "judged_user": frame["user_id"].to_numpy(),
        "judged_item": frame["item_id"].to_numpy(),
        "judged_day": frame["day"].to_numpy(),
        "judged_surface": np.array([codes.get(name, -1) for name in frame["surface"]], np.int8),
        "judged_test": rows.test[judged],
        "judged_y": np.stack([frame[head].cast(pl.Int8).fill_null(-1).to_numpy() for head in HEADS], axis=1),
        "judged_popularity": popularity(item, liked.to_numpy(), known)[: len(judged)][judged],
        "judged_shown": train_counts(item, known)[: len(judged)][judged],
        "judged_expanded": rows.expanded(),
    }


def _features(values: Values) -> NDArray[np.float32]:
    return np.concatenate([values.user, values.item, values.cross], axis=1)


def _ids(catalog: Catalog, values: Values, scenario: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Dense numbers of ``IDS``; whatever is unknown is the field's last number."""
    sizes = _sizes(catalog)
    found = (
        values.user_row,
        values.item_row,
        catalog.items.creator[values.item_row],
        catalog.items.category[values.item_row],
    )
    columns = [np.where(one < 0, sizes[at] - 1, one) for at, one in enumerate(found)]
    return np.stack([*columns, np.clip(scenario, 0, sizes[4] - 1)], axis=1).astype(np.int32)


def _sizes(catalog: Catalog) -> list[int]:
    items = catalog.items
    return [len(catalog.users) + 1, len(items) + 1, int(items.creator.max()) + 2, int(items.category.max()) + 2, 64]


def _facts(rows: RankingLog, taught: Lesson) -> dict[str, Any]:
    """What the table's header says about the data."""
    log = rows.log
    return {
        "name": log.manifest.name,
        "log_sha256": log.manifest.sha256,
        "impressions": log.impressions.height,
        "users": int(log.impressions["user_id"].n_unique()),
        "items": int(log.impressions["item_id"].n_unique()),
        "dropped": log.dropped.height,
        "train": int(taught.train.sum()),
        "train_timed": int((taught.train & taught.timed).sum()),
        "validation": int(rows.validation.sum()),
        "test": int(rows.test.sum()),
        "counted": len(rows.expanded()),
    }


def _save(folder: Path, **arrays: NDArray[Any]) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
