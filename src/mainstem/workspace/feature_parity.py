"""Are the features that are served the ones that are computed from the log? Replays a log through a server, and through columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.parity.features.compare import Comparison, compare, shown
from mainstem.parity.features.configuration import Arranged, Asked, Configuration, arranged
from mainstem.parity.features.drill import diagnosed
from mainstem.parity.features.recomputed import Recomputed
from mainstem.parity.features.result import Diagnosis
from mainstem.parity.features.served import Course, Replay, Served
from mainstem.parity.features.tables import NONE
from mainstem.parity.features.values import column_at
from mainstem.workspace.evidence_desks import parity_measured
from mainstem.workspace.feature_parity_history import commit, noted
from mainstem.workspace.feature_parity_log import CONFIGURATIONS, Pack, asked_of, named
from mainstem.workspace.feature_parity_results import (
    Counterfactual,
    ExampleRequest,
    FeatureRow,
    LagBin,
    Section,
    SideBySideValue,
    StackVerdict,
    Verified,
)
from mainstem.workspace.feature_parity_sections import sections
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log

Progress = Callable[[float, str], None]
Ints = NDArray[np.int64]
REQUESTS: Final = 2_000
"""Requests that are replayed of each configuration, unless told."""
EVENT_TIME_REQUESTS: Final = 500
_LAGS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 1_000, 10_000)
_STATES: Final = ("known", "known to be empty", "failed")


def silent(share: float, what: str = "") -> None:
    """Progress for nobody."""


def verify(
    workspace: Workspace,
    requests: int = REQUESTS,
    stack: str = "",
    seed: int | None = None,
    progress: Progress = silent,
) -> Verified:
    """Replays logged requests in both worlds, compares every declared column bit by bit, and writes evidence.

    Raises:
        DataError: There is no log (``data-001``).
        FeatureError: No configuration has this name (``parity-070``), or the log has no impression (``parity-071``).
    """
    began = time.perf_counter()
    names = named(stack)
    log = open_log(workspace)
    pack = Pack.of(workspace, log)
    seed = workspace.settings.seed if seed is None else seed
    found, skipped = [], []
    for at, name in enumerate(names):
        configuration = CONFIGURATIONS[name](pack)
        if configuration is None:
            skipped.append(name)
            continue

        def told(share: float, what: str = "", at: int = at, name: str = name) -> None:
            progress((at + share) / len(names), f"{name}: {what}")

        found.append(verify_stack(configuration, asked_of(pack, configuration, requests, seed), seed, told))
    beyond = (
        sections(workspace, log, requests, seed, lambda share, what="": progress(1.0, what))
        if "unified" in names
        else ()
    )
    verdict = Verified(
        passed=bool(found) and all(one.passed for one in found) and all(one.ok is not False for one in beyond),
        sentence=_sentence(found, skipped, beyond),
        log=log.manifest.name,
        source="made" if log.manifest.made else "real",
        commit=commit(),
        made_at_ms=int(time.time() * 1000),
        stacks=tuple(found),
        sections=beyond,
        skipped=tuple(skipped),
        seconds=time.perf_counter() - began,
    )
    workspace.write_evidence("feature_parity", verdict)
    noted(workspace, verdict)
    parity_measured(workspace, verdict, whole=not stack)
    return verdict


def _sentence(found: Sequence[StackVerdict], skipped: Sequence[str], beyond: Sequence[Section]) -> str:
    cells, same = sum(one.cells for one in found), sum(one.matched for one in found)
    features = sum(len(one.features) for one in found)
    failing = [f"{one.stack}: {one.sentence}" for one in found if not one.passed]
    failing += [f"{one.name}: {one.sentence}" for one in beyond if one.ok is False]
    tail = f" Not there, so not verified: {', '.join(skipped)}." if skipped else ""
    if not found:
        return f"Refused: nothing was verified.{tail}"
    if failing:
        return f"Refused: {'; '.join(failing)}{tail}"
    names = ", ".join(one.stack for one in found)
    return f"Passed: {features} features of {names} agree on {same:,} of {cells:,} cells in every bit.{tail}"


def verify_stack(configuration: Configuration, asked: Asked, seed: int, progress: Progress = silent) -> StackVerdict:
    """One configuration in both worlds."""
    began = time.perf_counter()
    log = arranged(configuration.streams, seed)
    served = Replay(configuration, log, asked, Course(seed)).run(lambda share: progress(0.6 * share, "serving"))
    again = Recomputed(configuration, log.streams)
    progress(0.7, "recomputing")
    table = again.table(asked, served.as_of, lambda share: progress(0.7 + 0.15 * share, "recomputing"))
    comparison = compare(served.table, table, served.metas)
    progress(0.88, "by event time")
    wrong = by_event_time(configuration, log, asked, served, table)
    progress(0.95, "compared")
    causes = () if comparison.gate().passed else diagnosed(configuration, log, asked, served, comparison)
    return told(configuration, asked, log, served, comparison, wrong, causes, time.perf_counter() - began)


def told(
    configuration: Configuration,
    asked: Asked,
    log: Arranged,
    served: Served,
    comparison: Comparison,
    wrong: Counterfactual,
    causes: tuple[Diagnosis, ...],
    seconds: float,
) -> StackVerdict:
    """The verdict of a comparison."""
    report = comparison.report
    owners = {name: feature.owner for name, feature in configuration.features.owner_of.items()}
    features = tuple(FeatureRow.of(one, owners.get(one.name, "")) for one in report.features)
    return StackVerdict(
        stack=configuration.name,
        feature_set=configuration.features.fingerprint,
        passed=report.gate.passed,
        sentence=report.gate.sentence,
        requests=len(asked),
        events=len(log.arrival_ms),
        cells=sum(one.cells for one in features),
        matched=sum(one.matched for one in features),
        rows=report.rows,
        features=features,
        causes=causes,
        lag=lag_bins(served.lag),
        counterfactual=wrong,
        example=example(configuration, comparison),
        seconds=seconds,
    )


def lag_bins(lag: Ints) -> tuple[LagBin, ...]:
    """How far the server was behind, in events, over its requests."""
    edges = [*_LAGS, int(max(lag.max(initial=0) + 1, _LAGS[-1] + 1))]
    counts = np.histogram(np.maximum(lag, 0), edges)[0]
    return tuple(
        LagBin(int(low), int(high - 1), int(count))
        for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
    )


def by_event_time(
    configuration: Configuration, log: Arranged, asked: Asked, served: Served, recomputed: pa.Table
) -> Counterfactual:
    """How many cells differ from what was served when the log is joined by event time, as a label join usually is."""
    at = np.unique(np.linspace(0, len(asked) - 1, min(EVENT_TIME_REQUESTS, len(asked))).astype(np.int64))
    few = asked.take(at)
    streams, until = in_event_time(configuration, few.time_ms)
    # Both sides are computed under one offset column: only the values are compared.
    guessed = Recomputed(configuration, streams).table(few, until)
    chosen = set(few.request_id.tolist())
    mask = pa.array([one in chosen for one in served.table["request_id"].to_pylist()])
    comparison = compare(served.table.filter(mask), guessed, served.metas)
    features = comparison.report.features
    worst = sorted(((one.name, 1 - one.total.match_rate) for one in features), key=lambda pair: (-pair[1], pair[0]))
    cells = sum(one.total.cells for one in features)
    return Counterfactual(len(few), cells, cells - sum(one.total.matched for one in features), tuple(worst[:10]))


def in_event_time(configuration: Configuration, time_ms: Ints) -> tuple[dict, Ints]:
    """The streams under offsets that follow event time, and the offset before which each moment's events lie."""
    order = arranged(configuration.streams, 0, delay_ms=0, late_share=0.0)
    return dict(order.streams), np.searchsorted(order.arrival_ms, time_ms, side="left")


def example(configuration: Configuration, comparison: Comparison) -> ExampleRequest | None:
    """The first request that parts, or else one in the middle, with the ranker's values on both sides."""
    rows = comparison.rows
    parted = [one.total.first for one in comparison.report.features if one.total.first is not None]
    wanted = parted[0].request_id if parted else None
    first = next((at for at in range(len(rows.left)) if rows.request_id(at) == wanted), len(rows.left) // 8)
    same = np.flatnonzero((rows.request == rows.request[first]) & (rows.left != NONE) & (rows.right != NONE))
    if not len(same):
        return None
    item = same[rows.item_id[same] >= 0]
    out, failing = [], set(comparison.gate().failing)
    for meta in comparison.metas:
        feature = configuration.features.owner_of[meta.name]
        if not feature.role and meta.name not in failing:
            continue
        for at in (*same[rows.item_id[same] < 0][:1].tolist(), *item[:1].tolist()):
            places = (rows.left[[at]], rows.right[[at]])
            one = column_at(comparison.served.column(meta.name), places[0], meta.name)
            other = column_at(comparison.recomputed.column(meta.name), places[1], meta.name)
            texts = (shown(one, 0), shown(other, 0))
            if texts != ("null", "null"):
                out.append(
                    SideBySideValue(
                        meta.name, *texts, _state(comparison, meta.name, int(places[0][0])), texts[0] == texts[1]
                    )
                )
    chosen = int(item[0]) if len(item) else first
    return ExampleRequest(
        rows.request_id(first), int(rows.time_ms[first]), int(rows.offset[first]), int(rows.user_id[first]),
        int(rows.item_id[chosen]), tuple(out),
    )  # fmt: skip


def _state(comparison: Comparison, name: str, at: int) -> str:
    states = comparison.served.state(name)
    if states is None:
        return ""
    value = states[at].as_py()
    return "" if value is None else _STATES[value]
