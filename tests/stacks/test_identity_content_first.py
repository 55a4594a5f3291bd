"""Whether the engine, configured as the content-first program, answers as that program does, request by request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.base.request import Request, Slate
from mainstem.data.importer import import_log
from mainstem.data.log import read_log
from mainstem.data.records import Feedback
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.data.world.settings import WorldFaults
from mainstem.features.content_first_inputs import NAMES
from mainstem.ranking.content_first_networks import read_content_model
from mainstem.stacks.content_first import content_first
from mainstem.stacks.follow import batch_of
from mainstem.stacks.remote import Kind, RemoteStack, rank_body, score_body
from mainstem.stacks.remote_protocol import RankAnswer, ScoreAnswer
from mainstem.stacks.run import run, score
from mainstem.stacks.stage import Stack
from mainstem.testing.identity import compare_scores, compare_slates
from mainstem.workspace.programs import serving, train
from mainstem.workspace.replay import feedback_records

SMALL = WorldSettings(users=300, items=500, days=4, impressions=6_000, seed=5)
FAULTS = WorldFaults(missing_item_share=0.05, safety_failed_share=0.05)
MINUTE_MS = 60_000
STRICT = {
    "groups.max_age_h": 200, "groups.creator_cap": 1, "groups.unconnected_factor": 1.0, "groups.quota.connected_new": 40,
    "pages.duplicate_cosine": 0.6, "pages.w.hate": -400.0, "pages.quota.fresh_trending": 31, "feed.max_age_h": 900,
}  # fmt: skip
"""Flags that make every rule fire; both sides read them from the same file."""

Step: TypeAlias = tuple[Kind, Any]
"""``event`` with a feedback record, or ``rank`` or ``score`` with a request."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The program behind HTTP, and its port."""

    program: RemoteStack
    engine: Stack
    impressions: pl.DataFrame
    item_ids: np.ndarray
    reposts: np.ndarray
    weights: dict[str, Any]
    start: Path
    """The engine's state right after training."""

    def reset(self) -> None:
        """Takes both back to the state right after training."""
        self.program.reset()
        reader: Any = self.engine.features
        reader.state.load(self.start)


# -- both sides -----------------------------------------------------------------------------------------------------------
@contextmanager
def both(folder: Path, artefacts: Path, until: int) -> Iterator[Pair]:
    log = read_log(folder)
    flags = json.loads((artefacts / "flags.json").read_text())
    later = log.impressions.filter(pl.col("day") >= until)
    items = log.items
    start = folder.parent / "start.npz"
    with serving(("content-first",), folder, {"content-first": artefacts}, until) as running:
        engine = content_first(artefacts, log, until)
        reader: Any = engine.features
        reader.state.save(start)
        with RemoteStack("content-first", running["content-first"].url, budget_s=30) as program:
            reposts = items.filter(pl.col("item_id") != pl.col("canonical_id"))["item_id"].to_numpy()
            weights = {name: [flags[f"{name}.w.{head}"] for head in engine.ranker.heads] for name in engine.surfaces}
            yield Pair(program, engine, later, items["item_id"].to_numpy(), reposts, weights, start)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("identity") / "log"
    write_world_log(make_world(SMALL), folder, faults=FAULTS)
    _forget_some_originals(folder)
    until = read_log(folder).days[-2]
    artefacts = folder.parent / "artefacts"
    train("content-first", folder, artefacts, until, seed=7)
    flags = artefacts / "flags.json"
    flags.write_text(json.dumps(json.loads(flags.read_text()) | STRICT))
    with both(folder, artefacts, until) as pair:
        yield pair


def _forget_some_originals(folder: Path) -> None:
    """Takes every third original that was reposted out of the catalog: only its reposts still tell of it."""
    items = pl.read_parquet(folder / "items.parquet")
    reposted = items.filter(pl.col("item_id") != pl.col("canonical_id"))["canonical_id"].unique().sort()
    items.filter(~pl.col("item_id").is_in(reposted.gather_every(3).implode())).write_parquet(folder / "items.parquet")


# -- what is asked --------------------------------------------------------------------------------------------------------
def interleaved(pair: Pair, ranks: int, seed: int) -> list[Step]:
    """Feedback of the later days with requests between it: known and unknown viewers and items, failing lookups, late records."""
    draw = np.random.default_rng(seed)
    records = feedback_records(pair.impressions)
    per_rank = max(1, len(records) // ranks)
    steps: list[Step] = []
    for asked in range(ranks):
        here = records[asked * per_rank : (asked + 1) * per_rank] or records[-1:]
        for one in here:
            steps.extend(("event", record) for record in _told(one, draw))
        steps.append(("rank", _request(pair, here[-1], asked, draw)))
        if asked % 6 == 0:
            steps.append(("score", _request(pair, here[-1], ranks + asked, draw, scored=True)))
    return steps


def _told(record: dict[str, Any], draw: np.random.Generator) -> list[dict[str, Any]]:
    """The record, and at times one more: again, hours early, without a view, by somebody new, or of something new."""
    other = dict(record, request_id=int(draw.integers(2**40, 2**41)))
    kind = int(draw.integers(12))
    if kind == 0:
        return [record, record]
    if kind == 1:
        return [record, other | {"time_ms": record["time_ms"] + int(draw.choice([1, 29, 30, 31, 32, 200])) * MINUTE_MS}]
    if kind in (2, 3):
        wait_ms = int(draw.integers(0, 40)) * MINUTE_MS
        done = {head: int(draw.random() < 0.3) for head in HEADS}
        return [record, other | {"viewed": 0, "time_ms": record["time_ms"] + wait_ms} | done]
    if kind == 4:
        return [record, other | {"user_id": 10**9 + int(draw.integers(30)), "viewed": 1, "long_view": 1, "follow": 1}]
    if kind == 5:
        return [record, other | {"item_id": 10**9 + int(draw.integers(30)), "viewed": 1}]
    if kind == 6:
        return [record, other | {"viewed": 1, "hate": 1, "like": 1, "watch_ms": None, "click": None}]
    return [record]


def _request(
    pair: Pair, record: dict[str, Any], number: int, draw: np.random.Generator, scored: bool = False
) -> Request:
    users = pair.impressions["user_id"]
    somebody = (record["user_id"], int(users[int(draw.integers(len(users)))]), 10**9 + int(draw.integers(40)), -5)
    failures = [name for name in ("safety", "features") if draw.random() < 0.15]
    return Request(
        request_id=10**10 + number,
        user_id=somebody[int(draw.choice(4, p=[0.5, 0.35, 0.13, 0.02]))],
        surface=pair.engine.surfaces[int(draw.integers(3))],
        now_ms=record["time_ms"] + int(draw.choice([-90, 0, 0, 0, 1, 20, 30, 31, 200])) * MINUTE_MS,
        count=int(draw.integers(1, 21)),
        scenario=1,
        item_ids=_listed(pair, draw) if scored or draw.random() < 0.5 else None,
        failures=frozenset() if scored else frozenset(failures),
    )


def _listed(pair: Pair, draw: np.random.Generator) -> np.ndarray:
    """Items by name: some reposts, some that nobody knows, at times one twice."""
    known = draw.choice(pair.item_ids, int(draw.integers(0, 60)))
    reposts = draw.choice(pair.reposts, int(draw.integers(0, 9))) if len(pair.reposts) else known[:0]
    unknown = 10**9 + draw.choice(30, int(draw.integers(0, 4)), replace=False)
    return draw.permutation(np.concatenate([known, reposts, unknown]).astype(np.int64))


# -- the comparison -------------------------------------------------------------------------------------------------------
def compare(pair: Pair, steps: list[Step], explained: int) -> tuple[list[str], Counter[str]]:
    """Every difference between the answers, and what was met on the way."""
    pair.reset()
    answers = pair.program.replay((kind, _line(kind, what, explained)) for kind, what in steps)
    met, differences, keys, known = Counter[str](), list[str](), set[tuple[int, int]](), list[Feedback]()
    for kind, what in steps:
        if kind == "event":
            key = (what["request_id"], what["item_id"])
            if key not in keys:  # as the event log does before any memory sees a record
                keys.add(key)
                known.append(msgspec.convert(what, Feedback))
            continue
        pair.engine.apply(batch_of(known, pair.engine.surfaces))
        known = []
        answer = next(answers)
        if isinstance(answer, ScoreAnswer):
            values, predictions = score(pair.engine, what)
            differences += compare_scores(
                answer, values, dict(zip(pair.engine.ranker.heads, predictions.T, strict=True))
            )
            met["scores"] += len(values)
        else:
            slate = run(pair.engine, what)
            differences += compare_slates(_in_our_terms(answer), slate) + _sums(pair, answer, slate)
            _note(met, answer, what)
    return differences, met


def _line(kind: Kind, what: Any, explained: int) -> Any:
    if kind == "event":
        return what
    return score_body(what) if kind == "score" else rank_body(what, explain=what.request_id % explained == 0)


def _in_our_terms(answer: RankAnswer) -> RankAnswer:
    """The program calls items that were named in the request ``asked``, tells values before the factor (see ``_sums``), and lists
    an item twice that was asked for twice."""
    kept = {one.item_id: one for one in answer.candidates if one.removed_by is None}
    candidates = [
        msgspec.structs.replace(one, value=None, sources=[name for name in one.sources if name != "asked"])
        for one in ({one.item_id: one for one in reversed(answer.candidates)} | kept).values()
    ]
    return msgspec.structs.replace(answer, candidates=candidates)


def _sums(pair: Pair, answer: RankAnswer, slate: Slate) -> list[str]:
    """What the program calls an item's value is the weighted sum of its predictions."""
    trace = slate.trace
    assert trace is not None
    assert trace.predictions is not None
    ours = dict(zip(trace.item_ids.tolist(), trace.predictions @ pair.weights[slate.surface], strict=True))
    told = {one.item_id: one.value or 0.0 for one in answer.candidates}
    apart = [item_id for item_id in told.keys() & ours.keys() if abs(told[item_id] - ours[item_id]) > 1e-6]
    return [f"request {answer.request_id}: the weighted sums of {apart[:5]} differ"] if apart else []


def _note(met: Counter[str], answer: RankAnswer, request: Request) -> None:
    met.update({"ranks", request.surface, *(rule.rule for rule in answer.rules), *request.failures})
    met.update({"retrieved" if request.item_ids is None else "listed", f"count {request.count}"})
    met["explained"] += bool(answer.candidates)
    met["items"] += len(answer.items)


# -- made world -----------------------------------------------------------------------------------------------------------
def test_the_engine_answers_as_the_program_does(made: Pair) -> None:
    differences, met = compare(made, interleaved(made, 2_000, seed=1), explained=16)
    assert differences == []
    assert met["ranks"] == 2_000
    assert met["scores"] > 5_000
    assert min(met[name] for name in ("feed", "groups", "pages", "safety", "features", "explained")) > 50
    assert {f"count {count}" for count in range(1, 21)} <= set(met)
    assert min(met[rule] for rule in made.engine.control.rules) > 5, met


@pytest.mark.parametrize("rule", ["same_canonical", "safety", "seen_recently", "creator_cap", "content_duplicate"])
def test_a_rule_that_is_missing_is_seen(made: Pair, rule: str) -> None:
    engine, steps = made.engine, interleaved(made, 60, seed=2)
    broken = replace(made, engine=replace(engine, control=engine.control.without(rule)))
    differences, _ = compare(broken, steps, explained=16)
    assert any(rule in what for what in differences)


def test_a_model_of_other_inputs_is_refused(made: Pair, tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes(b"")
    (tmp_path / "about.json").write_text(json.dumps({"inputs": list(NAMES[1:])}))
    with pytest.raises(ModelError, match=f"{len(NAMES) - 1} inputs, computed are {len(NAMES)}.*{NAMES[0]}"):
        read_content_model(tmp_path, NAMES)
    (tmp_path / "model.npz").unlink()
    with pytest.raises(ModelError, match=r"found no model\.npz"):
        read_content_model(tmp_path, NAMES)


def test_a_snapshot_brings_the_state_back(made: Pair, tmp_path: Path) -> None:
    reader: Any = made.engine.features
    request = _request(made, feedback_records(made.impressions)[-1], 1, np.random.default_rng(4))
    before = run(made.engine, request)
    reader.state.save(tmp_path / "0.npz")
    made.engine.apply(batch_of([msgspec.convert(r, Feedback) for r in feedback_records(made.impressions)], ("feed",)))
    assert run(made.engine, request).scores.tolist() != before.scores.tolist()
    reader.state.load(tmp_path / "0.npz")
    assert run(made.engine, request).scores.tolist() == before.scores.tolist()


# -- real log -------------------------------------------------------------------------------------------------------------
@pytest.mark.real
@pytest.mark.slow
def test_the_engine_answers_as_the_program_does_on_the_real_log(pack: Callable[[str], Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    import_log(pack("kuairand_pure"), log)
    until = 20220428
    train("content-first", log, tmp_path / "artefacts", until, seed=7)
    with both(log, tmp_path / "artefacts", until) as pair:
        pair = replace(pair, impressions=pair.impressions.head(12_000))
        differences, met = compare(pair, interleaved(pair, 2_000, seed=3), explained=50)
    assert differences == []
    assert met["ranks"] == 2_000
    assert met["retrieved"] > 800
    assert set(pair.engine.surfaces) <= set(met)
