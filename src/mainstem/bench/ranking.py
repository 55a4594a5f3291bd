"""One table of ranking on KuaiRand: our stacks, anchors and peers on the same rows and features, a regime of freshness each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import BenchError, DataError
from mainstem.base.heads import HEADS, SURFACES
from mainstem.bench.context import Context, identity, load_array, machine, seeds_of, source_of
from mainstem.bench.packs import OFFICIAL_MD5, RANKING, wrong_pack
from mainstem.bench.process import own_module
from mainstem.bench.ranking_figures import AVERAGE, Judged, Scored, figures, pooled
from mainstem.bench.ranking_log import DAYS, REGIMES, Regime
from mainstem.bench.ranking_targets import PUBLISHED, verdicts
from mainstem.bench.ranking_worker import ARMS, UNIFIED
from mainstem.bench.records import Record
from mainstem.bench.tables import Row, Table, measured_header, row_of
from mainstem.data.loaders.kuairand import files_folder

METRICS: Final = ("primary", "gauc", "ndcg@5")
COLD_BELOW: Final = 20
"""A test row is cold when its item was shown less often than this in training."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One model of one package that ranks."""

    name: str
    environment: str
    script: str
    model: str
    settings: dict[str, int]


PEERS: Final[tuple[Peer, ...]] = (
    Peer("factorisation machine", "rechub", "ranking_rechub", "fm", {"epochs": 10, "batch": 2_048}),
    Peer("LightGBM LambdaRank", "lightgbm", "ranking_lightgbm", "lambdarank", {"rounds": 400}),
    Peer("torch-rechub DeepFM", "rechub", "ranking_rechub", "deepfm", {"epochs": 6, "batch": 2_048}),
    Peer("torch-rechub PLE", "rechub", "ranking_rechub", "ple", {"epochs": 6, "batch": 2_048}),
)
"""The factorisation machine is the organisers' by their description (16 wide, five fields), written here."""


def ranking_tables(context: Context, protocol: str) -> list[Table]:
    """The tables of one protocol, one a regime.

    Raises:
        BenchError: The log is not there (``bench-012``), not what it should be (``bench-015``), or its rows could not be
            written (``bench-020``).
    """
    source = context.packs.find(*RANKING[protocol])
    source = files_folder(source)
    context.records.begin(protocol)
    rows, facts = _rows(context, protocol, source)
    facts["source"] = _source(context, protocol)
    judged = Judged.read(rows, COLD_BELOW)
    found = {name: Scored.of(context, records) for name, records in _all(context, protocol, rows, str(facts["rows"]))}
    return [_table(protocol, regime, judged, found, facts) for regime in REGIMES]


def _rows(context: Context, protocol: str, source: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of exported rows: made once, made again when the files or the protocol are others."""
    stamp = {path.name: path.stat().st_size for path in sorted(source.iterdir()) if path.is_file()}
    code = source_of("data", "features", "ranking/lesson.py", "bench/ranking_export.py", "bench/ranking_log.py")
    known = identity(protocol=protocol, files=stamp, days=str(DAYS[protocol]), code=code)
    wanted = Record(protocol, "rows", "ours", 0, known, "failed", state="rows and features, once for every system")
    folder = context.scratch / wanted.key
    if not (folder / "judged_expanded.npy").is_file():
        (context.records.folder / f"{wanted.key}.json").unlink(missing_ok=True)
    context.progress(0.0, f"{protocol}: rows and features")
    job = {"data": str(source), "log": str(context.scratch / f"{protocol}-{known}.log"), "protocol": protocol}
    record = context.measured(wanted, own_module("mainstem.bench.ranking_export"), job, lambda _: {})
    if record.status != "measured":
        raise _refused(protocol, source, record)
    facts = record.card | {"rows": known, "log": job["log"], "rows_cpu_s": record.fit_cpu_s}
    return folder, facts


def _refused(protocol: str, source: Path, record: Record) -> BenchError:
    """What the export refused, with its own code where it is the benchmark's."""
    code, hint = str(record.card.get("code", "")), str(record.card.get("hint", ""))
    if code.startswith("data-"):
        return wrong_pack(protocol, source, DataError(record.why, code=code, hint=hint))
    if code.startswith("bench-"):
        return BenchError(record.why, code=code, hint=hint)
    return BenchError(
        f"the rows of {protocol!r} could not be written from {source}: {record.why[-300:]}",
        code="bench-020",
        hint="mainstem data check FOLDER says what is wrong with a log",
    )


def _source(context: Context, protocol: str) -> str:
    """Whether these are the files of the public figures: their archive's MD5, where there is an archive."""
    found = context.packs.archive_md5(*RANKING[protocol])
    if not found:
        return "a folder, no archive to check"
    return f"archive md5 {found}, {'' if found == OFFICIAL_MD5 else 'not '}the one of the public figures"


def _all(context: Context, protocol: str, rows: Path, known: str) -> Iterator[tuple[str, list[Record]]]:
    peers = [] if context.peers is None else list(PEERS)
    of, at = len(peers) + len(ARMS) + 1, 0
    for peer in peers:
        context.progress(at / of, f"{protocol}: {peer.name}")
        yield peer.name, [_peer(context, protocol, peer, rows, known, seed) for seed in seeds_of(True, context.seeds)]
        at += 1
    for name in (*ARMS, UNIFIED):
        context.progress(at / of, f"{protocol}: {name}")
        # The legacy programs stand as they serve: trained once. What is claimed over seeds is claimed of ours and of the peers.
        seeds = seeds_of(name == UNIFIED, context.seeds)
        yield name, [_own(context, protocol, name, known, seed) for seed in seeds]
        at += 1


def _own(context: Context, protocol: str, name: str, known: str, seed: int) -> Record:
    code = source_of("ranking", "bench/ranking_worker.py")
    same = identity(rows=known, system=name, seed=seed, code=code if name == UNIFIED else "")
    wanted = Record(protocol, name, "ours", seed, same, "failed")
    job = {"log": str(context.scratch / f"{protocol}-{known}.log"), "protocol": protocol, "system": name, "seed": seed}
    return context.measured(wanted, own_module("mainstem.bench.ranking_worker"), job, _read)


def _peer(context: Context, protocol: str, peer: Peer, rows: Path, known: str, seed: int) -> Record:
    assert context.peers is not None
    same = identity(rows=known, system=peer.name, seed=seed, model=peer.model, settings=peer.settings)
    wanted = Record(protocol, peer.name, "peer", seed, same, "failed")
    why = context.peers.why_absent(peer.environment)
    if why:
        return context.absent(wanted, why)
    job = {"data": str(rows), "seed": seed, "model": peer.model, "settings": peer.settings}
    return context.measured(wanted, context.peers.command(peer.environment, peer.script), job, _read)


def _read(folder: Path) -> dict[str, NDArray[Any]]:
    """The scores a process wrote, by regime, and its heads where it has some."""
    names = (*REGIMES, "heads")
    return {name: load_array(folder, name) for name in names if (folder / f"{name}.npy").is_file()}


def _table(
    protocol: str, regime: Regime, judged: Judged, found: Mapping[str, Scored], facts: Mapping[str, Any]
) -> Table:
    slices = _slices(judged) if regime == "frozen" else {}
    told = figures(judged, {name: one.scores(regime) for name, one in found.items()}, ARMS, slices)
    aucs = pooled(judged, found, HEADS) if regime == "frozen" else {}
    rows = [_row(name, found[name].records, told.of(name), told.intervals(name), regime) for name in found]
    for name, note in (("popularity", "history counted"), (AVERAGE, "mean place within the user of both arms")):
        if told.has(name):
            rows.append(Row(name, "anchor", told.means(name), told.intervals(name), seeds=told.seeds(name), note=note))
    rows += PUBLISHED.get(protocol, {}).get(regime, [])
    others = [name for name in (*(peer.name for peer in PEERS), *ARMS, AVERAGE, "popularity") if told.has(name)]
    others = others if told.has(UNIFIED) else []
    differences = tuple((f"unified - {name}, primary", told.difference(UNIFIED, name)) for name in others)
    table = Table(
        protocol=protocol,
        title=f"{protocol}, {regime} state: long view, mean of GAUC and nDCG@5",
        header=_header(regime, judged, facts, protocol)
        | measured_header(record for one in found.values() for record in one.records),
        metrics=METRICS,
        rows=tuple(sorted(rows, key=_order)),
        differences=differences,
        notes=_heads(aucs),
    )
    return verdicts(table, told, regime, slices, aucs)


def _slices(judged: Judged) -> dict[str, NDArray[np.bool_]]:
    """Which test rows each slice holds."""
    surfaces = {name: judged.surface == at for at, name in enumerate(SURFACES)}
    return {f"{name} surface": mask for name, mask in surfaces.items() if mask.any()} | {"cold items": judged.cold}


def _heads(aucs: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    """Pooled AUC of every head, for whoever predicts heads."""
    lines = (
        f"{name}: " + ", ".join(f"{head} {value:.4f}" for head, value in one.items()) for name, one in aucs.items()
    )
    return tuple(f"AUC of heads on test rows, {line}" for line in lines)


def _row(
    name: str,
    records: Sequence[Record],
    found: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Any],
    regime: Regime,
) -> Row:
    if any(record.status == "measured" for record in records) and not found:
        return Row(name, records[0].kind, note=f"has no {regime} state")
    return row_of(name, records, found, intervals)


def _order(row: Row) -> tuple[int, float]:
    rank = {"published": 0, "anchor": 1, "peer": 2, "ours": 3}
    return rank[row.kind], row.figures.get("primary", -1.0)


def _header(regime: Regime, judged: Judged, facts: Mapping[str, Any], protocol: str) -> dict[str, str]:
    days = DAYS[protocol]
    at_test = "the day before the test days" if days.frozen_at_test else "the end of the training days"
    state = {
        "frozen": f"frozen: nothing is known that happened after {at_test}",
        "daily": "daily: state as of each day's beginning, weights as trained",
        "continuous": "continuous: every outcome up to a minute before each row (the feedback delay)",
    }
    repeats = "counted as often as the files show them" if days.repeats else "dropped"
    return {
        "data": f"{facts['name']}, {facts['impressions']:,} impressions, {facts['users']:,} users, {facts['items']:,} items; "
        f"log sha256 {str(facts['log_sha256'])[:16]}; {facts['source']}; repeated rows {facts['dropped']:,}, {repeats}",
        "split": f"train {days.train[0]}–{days.train[1]} ({facts['train']:,} rows, {facts['train_timed']:,} of them "
        f"impressions, the rest history), validation {days.validation[0]}–{days.validation[1]} ({facts['validation']:,}), "
        f"test {days.test[0]}–{days.test[1]} ({facts['test']:,}); md5 {judged.md5}",
        "regime": state[regime],
        "inputs": f"{facts['columns']} features, the same matrix for ours and peers; features once for all "
        f"{facts['rows_cpu_s']:.0f} CPU-s, not in the fit column",
        **machine(),
    }
