"""The engine configured as interest-first against the program itself: one replay through both, every answer compared."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import ModelError, RequestError, StoreError
from mainstem.base.heads import HEADS, SURFACES
from mainstem.base.request import FIRST_RULE, Request
from mainstem.data.importer import import_log
from mainstem.data.log import Log, read_log
from mainstem.data.records import Feedback
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.data.world.settings import WorldFaults
from mainstem.features.interest_first_artefacts import read_artefacts
from mainstem.features.interest_first_posts import INTEREST, KINDS, posts_of
from mainstem.stacks.follow import batch_of
from mainstem.stacks.interest_first import interest_first
from mainstem.stacks.remote import Line, RemoteStack, rank_body, score_body
from mainstem.stacks.remote_protocol import ScoreAnswer
from mainstem.stacks.run import run, score
from mainstem.stacks.stage import Stack
from mainstem.testing.identity import compare_scores, compare_slates
from mainstem.workspace.programs import serving, train
from mainstem.workspace.replay import feedback_records

SMALL = WorldSettings(users=250, items=700, days=4, impressions=6_000, seed=9)
FAULTS = WorldFaults(missing_item_share=0.05, safety_failed_share=0.05, late_share=0.02)
NAME = "interest-first"
HOUR_MS = 3_600_000
NOBODY, NOTHING = 10**9, 10**12
"""From here on ids are unknown."""
STRICT = """
[plan.groups]
extends = "pages"
traffic_share = 0.2
quota_interests = 5
quota_share = 0.15
max_run = 1
explore_share = 0.4
cooldown_h = 5.5
"""
"""Dials of one surface that make every rule fire; both sides read them from the same file."""

Steps = list[tuple[list[dict[str, Any]], Request, bool]]
"""Feedback records, then a request; True asks for scores only."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The program behind HTTP, and what its port is made from."""

    program: RemoteStack
    log: Log
    artefacts: Path
    until: int

    def engine(self) -> Stack:
        """The port as it stands right after training."""
        return interest_first(self.artefacts, self.log, self.until)


@contextmanager
def both(folder: Path, artefacts: Path, until: int) -> Iterator[Sides]:
    with (
        serving((NAME,), folder, {NAME: artefacts}, until) as running,
        RemoteStack(NAME, running[NAME].url, budget_s=30) as program,
    ):
        yield Sides(program, read_log(folder), artefacts, until)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    base = tmp_path_factory.mktemp("identity_interest_first")
    write_world_log(make_world(SMALL), base / "log", faults=FAULTS)
    items = pl.read_parquet(base / "log" / "items.parquet")
    until = read_log(base / "log").days[-2]
    items.filter(pl.col("item_id") % 40 != 7).write_parquet(base / "log" / "items.parquet")
    train(NAME, base / "log", base / "model", until, seed=7)
    items.sample(fraction=1.0, shuffle=True, seed=2).write_parquet(base / "log" / "items.parquet")  # some are new now
    plans = (base / "model" / "plans.toml").read_text()
    before, after = plans.split("[plan.groups]")[0], plans.split("[plan.feed]")[1]
    (base / "model" / "plans.toml").write_text(before + STRICT + "\n[plan.feed]" + after)
    with both(base / "log", base / "model", until) as sides:
        yield sides


# -- what is asked --------------------------------------------------------------------------------------------------------
def script(sides: Sides, ranks: int, seed: int) -> Steps:
    """Requests with feedback between them: the log's own, and some of a heavy user, of strangers, late, odd or told twice."""
    draw = np.random.default_rng(seed)
    later = sides.log.impressions.filter(pl.col("day") >= sides.until)
    records = itertools.cycle(feedback_records(later.head(4 * ranks)))
    users, item_ids = later["user_id"].unique().sort().to_numpy(), sides.log.items["item_id"].to_numpy()
    heavy = int(users[0])
    steps: Steps = []
    for number in range(ranks):
        told = [_odd(record, number, heavy, draw) for record in itertools.islice(records, 2)]
        told += told[-1:] * int(draw.random() < 0.1)
        here = told[0]
        request = Request(
            request_id=10**7 + number,
            user_id=int(draw.choice([heavy, here["user_id"], draw.choice(users[:60]), NOBODY + draw.integers(9)])),
            surface=SURFACES[int(draw.integers(3))],
            now_ms=max(here["time_ms"] + int(draw.integers(-2, 60)) * HOUR_MS, 0),
            count=1 + number % 20,
            scenario=int(draw.integers(-1, 70)),
            item_ids=_named(item_ids, draw) if draw.random() < 0.4 else None,
            failures=frozenset(name for name in ("safety", "features") if draw.random() < 0.08),
        )
        steps.append((told, request, False))
        if number % 8 == 0:
            steps.append(([], replace(request, item_ids=_named(item_ids, draw), failures=frozenset()), True))
    return steps


def _odd(record: dict[str, Any], number: int, heavy: int, draw: np.random.Generator) -> dict[str, Any]:
    change = int(draw.integers(8))
    if change > 5:
        return record
    new = record | {"request_id": 10**11 + int(draw.integers(10**9))}
    flags = {head: [0, 1, None][int(draw.integers(3))] for head in HEADS}
    return (
        new
        | [
            {"user_id": heavy, "time_ms": record["time_ms"] + number * 60_000},
            {"user_id": heavy} | flags,
            {"user_id": NOBODY + int(draw.integers(9))} | flags,
            {"item_id": NOTHING + int(draw.integers(9)), "like": 1},
            {"time_ms": record["time_ms"] - int(draw.integers(1, 400)) * HOUR_MS, "event_id": f"late-{number}"} | flags,
            {"surface": "stories", "scenario": int(draw.integers(-1, 99)), "viewed": 0},
        ][change]
    )


def _named(item_ids: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Items by name, some unknown, some twice, in no order; none at all at times."""
    known = draw.choice(item_ids, int(draw.integers(0, 50)))
    return draw.permutation(np.concatenate([known, known[:2], NOTHING + draw.integers(0, 9, int(draw.integers(4)))]))


# -- the comparison -------------------------------------------------------------------------------------------------------
def replayed(sides: Sides, engine: Stack, steps: Steps, explained: int = 16) -> tuple[list[str], Counter[str]]:
    """Every difference between the answers of both sides, and what was met on the way."""
    sides.program.reset()
    answers = sides.program.replay(_lines(steps, explained))
    differences: list[str] = []
    met, known = Counter[str](), set[Any]()
    for told, request, scored in steps:
        engine.apply(batch_of([msgspec.convert(one, Feedback) for one in told if _first_time(one, known)], SURFACES))
        answer = next(answers)
        if isinstance(answer, ScoreAnswer):
            values, predictions = score(engine, request)
            differences += compare_scores(answer, values, dict(zip(engine.ranker.heads, predictions.T, strict=True)))
            met["scores"] += len(values)
            continue
        slate = run(engine, request)
        differences += compare_slates(answer, slate)
        met.update(["ranks", request.surface, *request.failures, f"count {request.count}"])
        met.update(f"{one.rule} {one.effect}" for one in answer.rules)
        met["retrieved" if request.item_ids is None else "named"] += 1
        met["items"] += len(answer.items)
        met["propensities"] += sum(item.propensity is not None for item in answer.items)
        assert scored is False
    return differences, met


def _lines(steps: Steps, explained: int) -> Iterator[Line]:
    for told, request, scored in steps:
        yield from (("event", record) for record in told)
        if scored:
            yield "score", score_body(request)
        else:
            yield "rank", rank_body(request, explain=request.request_id % explained == 0)


def _first_time(record: dict[str, Any], known: set[Any]) -> bool:
    """What the event log sees to before any memory: a record counts once."""
    key = record.get("event_id") or (record["request_id"], record["item_id"])
    return key not in known and not known.add(key)


# -- made world -----------------------------------------------------------------------------------------------------------
def test_the_port_answers_as_the_program_does(made: Sides) -> None:
    differences, met = replayed(made, made.engine(), script(made, 2_000, seed=1))
    assert differences == []
    assert met["ranks"] == 2_000
    assert min(met[name] for name in (*SURFACES, "retrieved", "named", "scores")) > 500, met
    assert {f"count {count}" for count in range(1, 21)} <= set(met)
    assert min(met["features"], met["safety"], met["propensities"]) > 100, met
    fired = ["safety removed", "cooldown removed", "portfolio raised", "exploration explored"]
    fired += [f"{rule} {effect}" for rule in ("max_run", "interest_quota") for effect in ("delayed", "raised")]
    assert min(met[name] for name in [*fired, "max_run waived"]) > 5, met


@pytest.mark.parametrize("rule", ["safety", "cooldown", "portfolio", "max_run", "interest_quota", "exploration"])
def test_a_rule_that_is_switched_off_is_seen(made: Sides, rule: str) -> None:
    engine = made.engine()
    engine = replace(engine, control=engine.control.without(rule))
    differences, _ = replayed(made, engine, script(made, 80, seed=2))
    assert any(f"rule {rule}" in what for what in differences)


def test_a_memory_that_forgets_what_was_served_is_seen(made: Sides) -> None:
    engine = made.engine()

    class Forgetful(type(engine.features)):  # type: ignore[misc]
        def served(self, request: Request, rows: np.ndarray) -> None: ...

    engine.features.__class__ = Forgetful
    assert replayed(made, engine, script(made, 40, seed=3))[0] != []


def test_nothing_but_a_slate_that_was_served_is_booked(made: Sides) -> None:
    engine, request = made.engine(), script(made, 1, seed=4)[0][1]
    request = replace(request, item_ids=None, failures=frozenset(), count=10)
    dry = replace(engine, memories=())
    first = run(dry, request)
    assert len(first.item_ids) == 10
    assert run(dry, request).item_ids.tolist() == first.item_ids.tolist()
    assert run(engine, request).item_ids.tolist() == first.item_ids.tolist()
    again = run(engine, request)
    assert not set(first.item_ids) & set(again.item_ids)
    assert again.trace is not None
    cooled = again.trace.item_ids[again.trace.removed_by == FIRST_RULE + engine.control.rules.index("cooldown")]
    assert set(first.item_ids) <= set(cooled)


def test_terms_add_up_to_the_value_and_every_place_has_a_propensity(made: Sides) -> None:
    engine = made.engine()
    request = replace(script(made, 1, seed=5)[0][1], item_ids=None, failures=frozenset(), count=20)
    for number in range(20):
        slate = run(engine, replace(request, request_id=number))
        assert slate.trace is not None
        np.testing.assert_allclose(sum(slate.trace.terms.values()), slate.trace.values, atol=1e-9)
        assert ((slate.propensities > 0) & (slate.propensities <= 1)).all()


def test_posts_are_counted_under_the_keys_of_one_number_space(made: Sides) -> None:
    engine, trained = made.engine(), read_artefacts(made.artefacts)
    posts = posts_of(engine.catalog, made.log.items.sort("item_id"), trained)
    keys = posts.keys(np.arange(-1, len(posts.slots) - 1), posts.place("pages", 3))
    assert ((keys >= posts.first) & (keys < posts.first + posts.sizes)).all()
    assert posts.slots[-1, INTEREST] == trained.interests == posts.sizes[INTEREST] - 1
    assert len(set(keys[0].tolist())) == len(KINDS)
    assert posts.place("stories", 3) == posts.place("stories", 3) != posts.place("feed", 3)


def test_a_batch_is_taken_in_as_its_records_would_be_one_by_one(made: Sides) -> None:
    records = feedback_records(made.log.impressions.tail(1_500))
    mine = [one | {"user_id": NOBODY} if at % 2 else one for at, one in enumerate(records)]
    batch = batch_of([msgspec.convert(one, Feedback) for one in mine], SURFACES)
    together, apart = made.engine(), made.engine()
    together.apply(batch)
    for at in range(len(batch)):
        apart.apply(batch.take(slice(at, at + 1)))
    request = Request(1, NOBODY, "feed", records[-1]["time_ms"] + 1, 10)
    kept = [engine.features.user(request).past for engine in (together, apart)]
    assert len(kept[0].time_ms) == len(kept[1].time_ms) == 257 + (750 - 513) % 256  # the older half of 512 goes at once
    assert kept[0].time_ms.tolist() == kept[1].time_ms.tolist()
    rows = np.arange(200)
    seen = [engine.features.items(request, engine.features.user(request), rows) for engine in (together, apart)]
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-9)


def test_a_memory_is_the_same_after_a_restart(made: Sides, tmp_path: Path) -> None:
    engine, other, steps = made.engine(), made.engine(), script(made, 80, seed=8)
    engine.memories[0].save(tmp_path / "at-first")
    replayed(made, engine, steps[:60])
    engine.memories[0].save(tmp_path / "memory")
    for told, request, _ in steps[60:]:
        batch = batch_of([msgspec.convert(one, Feedback) for one in told], SURFACES)
        other.memories[0].load(tmp_path / "memory")
        engine.apply(batch)
        other.apply(batch)
        ours, theirs = run(engine, request), run(other, request)
        assert ours.scores.tolist() == theirs.scores.tolist()
        assert ours.item_ids.tolist() == theirs.item_ids.tolist()
        engine.memories[0].save(tmp_path / "memory")
    other.memories[0].load(tmp_path / "at-first")
    assert replayed(made, other, steps)[0] == []
    smaller = Log(made.log.folder, made.log.manifest)
    smaller.__dict__["items"] = made.log.items.head(100)
    with pytest.raises(StoreError, match="not this catalog's 100"):
        interest_first(made.artefacts, smaller, made.until).memories[0].load(tmp_path / "memory")


def test_a_folder_that_holds_no_model_and_a_plan_without_a_dial_are_refused(made: Sides, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"about\.json, plans\.toml and model\.npz") as refused:
        read_artefacts(tmp_path)
    assert refused.value.code == "model-010"
    for name in ("model.npz", "about.json"):
        (tmp_path / name).write_bytes((made.artefacts / name).read_bytes())
    (tmp_path / "plans.toml").write_text("[plan.feed]\nfetch = 600\n")
    with pytest.raises(ModelError, match="plan 'feed'") as refused:
        read_artefacts(tmp_path)
    assert refused.value.code == "model-011"
    with pytest.raises(RequestError, match="stories"):
        run(made.engine(), Request(1, 1, "stories", 1, 1))


# -- real log -------------------------------------------------------------------------------------------------------------
@pytest.mark.real
@pytest.mark.slow
def test_the_port_answers_as_the_program_does_on_the_real_log(pack: Callable[[str], Path], tmp_path: Path) -> None:
    import_log(pack("kuairand_pure"), tmp_path / "log")
    until = 20220428
    train(NAME, tmp_path / "log", tmp_path / "model", until, seed=7)
    with both(tmp_path / "log", tmp_path / "model", until) as sides:
        differences, met = replayed(sides, sides.engine(), script(sides, 2_000, seed=6), explained=40)
    assert differences == []
    assert met["ranks"] == 2_000
    assert min(met["retrieved"], met["named"], met["scores"], met["safety removed"]) > 500, met
