"""One table of next-item retrieval: our models, anchors and peers on one split, in one run, by one evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import DataError
from mainstem.bench import published
from mainstem.bench.context import Context, identity, load_array, machine, seeds_of, source_of
from mainstem.bench.packs import SEQUENCES, wrong_pack
from mainstem.bench.process import own_module
from mainstem.bench.records import Record
from mainstem.bench.sequence_peers import LISTED, PEERS, Peer, export, read_ranks
from mainstem.bench.sequence_systems import AVERAGE, CONTENT, INTEREST, UNIFIED, System, systems_of
from mainstem.bench.sequence_targets import verdicts
from mainstem.bench.tables import Row, Table, measured_header, row_of
from mainstem.data.loaders.sequences import load_sequences
from mainstem.data.sequences import LeaveOneOut, leave_one_out
from mainstem.evaluate.intervals import Interval, Resampled, resample
from mainstem.evaluate.metrics import Ratio
from mainstem.evaluate.next_item import COLD_MOST, gain

METRICS: Final = ("hr@10", "ndcg@10", "hr@50", "hr@200")
DEEP: Final = {"mrr"}
"""Not told of peers: their lists end."""
STRICT: Final = "strict: learned all but the last two events"
LOOSE: Final = "learned all but the last event"


@dataclass(frozen=True, slots=True)
class Measured:
    """All records of a system, one a seed, with the places of the targets.

    Shapes: ``test`` and ``validation`` one array ``[users]`` a seed.
    """

    name: str
    records: list[Record]
    test: list[NDArray[np.float64]]
    validation: list[NDArray[np.float64]]

    def mean(self, metric: str, part: str = "test") -> float | None:
        """A metric's mean over seeds; None where there are no places."""
        ranks = self.test if part == "test" else self.validation
        return float(np.mean([gain(metric, one).mean() for one in ranks])) if ranks else None


def sequence_table(context: Context, name: str) -> Table:
    """The table of one set.

    Raises:
        BenchError: The set is not there (``bench-012``) or not what it should be (``bench-015``).
    """
    folder = context.packs.find(SEQUENCES[name])
    try:
        split = leave_one_out(load_sequences(folder, name))
    except DataError as error:
        raise wrong_pack(name, folder, error) from error
    context.records.begin(name)
    found = [_with_places(context, *told) for told in _all(context, name, folder, split)]
    return _table(name, split, found)


def _all(context: Context, name: str, folder: Path, split: LeaveOneOut) -> Iterator[tuple[str, list[Record]]]:
    """Every system's records, measured one after another: two at a time would share caches."""
    ours = systems_of(name, split.sequences.items)
    peers = [] if context.peers is None else [one for one in PEERS if not one.sets or name in one.sets]
    of = len(ours) + len(peers)
    for at, one in enumerate(peers):
        context.progress(at / of, f"{name}: {one.name}")
        yield one.name, [_peer(context, name, one, split, seed) for seed in seeds_of(False, context.seeds)]
    for at, one in enumerate(ours, start=len(peers)):
        context.progress(at / of, f"{name}: {one.name}")
        yield one.name, [_own(context, name, one, folder, split, seed) for seed in seeds_of(one.seeded, context.seeds)]


def _own(context: Context, name: str, one: System, folder: Path, split: LeaveOneOut, seed: int) -> Record:
    code = (
        source_of("bench/anchors.py") if one.kind == "anchor" else source_of("retrieval", "bench/sequence_systems.py")
    )
    known = identity(split=split.md5, system=one.name, seed=seed, state=one.reads, code=code)
    state = STRICT if one.reads == "strict" else LOOSE
    wanted = Record(name, one.name, one.kind, seed, known, "failed", state=state)
    job: dict[str, object] = {"data": str(folder), "set": name, "system": one.name, "seed": seed}
    job["kept"] = str(context.records.folder)
    return context.measured(wanted, own_module("mainstem.bench.sequence_worker"), job, _own_ranks)


def _own_ranks(folder: Path) -> dict[str, NDArray[np.float32]]:
    return {part: load_array(folder, part) for part in ("test", "validation") if (folder / f"{part}.npy").is_file()}


def _peer(context: Context, name: str, one: Peer, split: LeaveOneOut, seed: int) -> Record:
    assert context.peers is not None
    settings = {"model": one.model, "settings": one.settings, "k": LISTED}
    known = identity(split=split.md5, system=one.name, seed=seed, **settings)
    state = f"{LOOSE}; {one.note}" if one.note else LOOSE
    wanted = Record(name, one.name, "peer", seed, known, "failed", state=state)
    why = context.peers.why_absent(one.environment)
    if one.most_items is not None and split.sequences.items > one.most_items:
        why = f"not run above {one.most_items:,} items: several GB and minutes for a dense inverse"
    if why:
        return context.absent(wanted, why)
    data = export(split, context.scratch / f"{name}.split")
    job = {"data": str(data), "seed": seed, "items": split.sequences.items, **settings}
    command = context.peers.command(one.environment, one.script)
    return context.measured(wanted, command, job, lambda folder: read_ranks(split, folder))


def _with_places(context: Context, name: str, records: list[Record]) -> Measured:
    arrays = [context.records.arrays(record) for record in records if record.status == "measured"]
    test = [one["test"].astype(np.float64) for one in arrays]
    return Measured(
        name, records, test, [one["validation"].astype(np.float64) for one in arrays if "validation" in one]
    )


def _table(name: str, split: LeaveOneOut, found: Sequence[Measured]) -> Table:
    by_name = {one.name: one for one in found if one.test}
    drawn, places = _resampled(split, by_name)
    rows = [_row(one, drawn, places) for one in found]
    rows += [Row(one.system, "published", one.figures, note=one.source) for one in published.SEQUENCES.get(name, ())]
    pairs = [(UNIFIED, other) for other in (CONTENT, INTEREST, AVERAGE) if {UNIFIED, other} <= set(by_name)]
    differences = {
        f"{first} - {second}, {metric}{within}": _difference(drawn, places, first, second, f"{metric}{within}")
        for first, second in pairs
        for metric in ("hr@10", "ndcg@10")
        for within in ("", " (cold)")
    }
    table = Table(
        protocol=name,
        title=f"{name}: next item, leave-one-out, every item ranked",
        header=_header(split) | measured_header(record for one in found for record in one.records),
        metrics=METRICS,
        rows=tuple(sorted(rows, key=_order)),
        differences=tuple(differences.items()),
    )
    chosen = {one.name: one.mean("ndcg@10", "validation") for one in found}
    return _judged(table, differences, chosen)


def _judged(table: Table, differences: Mapping[str, Interval | None], chosen: Mapping[str, float | None]) -> Table:
    return replace(table, verdicts=verdicts(table, differences, chosen))


def _order(row: Row) -> tuple[int, float]:
    """Published rows first, then what was measured, the best last: ours stand beside what they are compared to."""
    rank = {"published": 0, "anchor": 1, "peer": 2, "ours": 3}
    return rank[row.kind], row.figures.get("ndcg@10", -1.0)


def _row(one: Measured, drawn: Resampled | None, places: Mapping[tuple[str, str], list[int]]) -> Row:
    figures = {metric: [float(gain(metric, ranks).mean()) for ranks in one.test] for metric in METRICS if one.test}
    intervals = {metric: _interval(drawn, places.get((one.name, metric), [])) for metric in ("hr@10", "ndcg@10")}
    return row_of(one.name, one.records, figures, intervals)


def _resampled(
    split: LeaveOneOut, found: Mapping[str, Measured]
) -> tuple[Resampled | None, dict[tuple[str, str], list[int]]]:
    """All figures of all systems under the same draws of users, and where each stands among them (one a seed)."""
    if not found:
        return None, {}
    cold = np.bincount(split.fit.rows, minlength=split.sequences.items)[split.test] <= COLD_MOST
    everybody = np.ones(len(split.users))
    ratios: list[Ratio] = []
    places: dict[tuple[str, str], list[int]] = {}
    for name, one in found.items():
        for metric in ("hr@10", "ndcg@10"):
            for within, counted in (("", everybody), (" (cold)", cold.astype(np.float64))):
                for ranks in one.test:
                    places.setdefault((name, metric + within), []).append(len(ratios))
                    ratios.append(Ratio(over=gain(metric, ranks) * counted, under=counted))
    return resample(ratios, split.sequences.user_ids[split.users]), places


def _interval(drawn: Resampled | None, columns: Sequence[int]) -> Interval | None:
    if drawn is None or not columns:
        return None
    weights = np.zeros(len(drawn.measured))
    weights[list(columns)] = 1 / len(columns)
    return drawn.interval(weights)


def _difference(
    drawn: Resampled | None, places: Mapping[tuple[str, str], list[int]], first: str, second: str, metric: str
) -> Interval | None:
    if drawn is None:
        return None
    weights = np.zeros(len(drawn.measured))
    for name, sign in ((first, 1.0), (second, -1.0)):
        columns = places[name, metric]
        weights[columns] = sign / len(columns)
    return drawn.interval(weights)


def _header(split: LeaveOneOut) -> dict[str, str]:
    told = split.sequences
    return {
        "data": f"{told.name}, {len(told):,} users, {told.items:,} items, {len(told.rows):,} events; "
        f"sha256 {told.sha256[:16]}",
        "split": f"leave-one-out, md5 {split.md5}; {len(split.users):,} judged users; the history's items left out, "
        "ties share the mean of their places",
        "state": "ours strict (the validation event is history when asked, never learned from); peers, popularity and EASE "
        "learn it too, which favours them",
        **machine(),
    }
