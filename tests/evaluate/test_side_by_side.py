from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import DataError
from mainstem.evaluate import metrics
from mainstem.evaluate.plan import SideBySidePlan
from mainstem.evaluate.results import Comparison, SideBySide, Verdict
from mainstem.evaluate.rows import ArmScores, LoggedRows, popularity, split_rows
from mainstem.evaluate.side_by_side import side_by_side

N, USERS, ITEMS = 12_000, 600, 300
PLAN = SideBySidePlan(resamples=200, least_rows=300)


def made_log(seed: int = 1) -> tuple[LoggedRows, np.ndarray, np.ndarray]:
    """A log with two causes of a long view, each known to one legacy stack only."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, USERS, N), rng.integers(0, ITEMS, N)
    days = np.sort(rng.integers(20220425, 20220431, N))
    content, interest = rng.normal(size=N), rng.normal(size=N)
    chance = 1 / (1 + np.exp(1 - content - interest))
    labels = {
        "click": (rng.random(N) < np.sqrt(chance)).astype(float),
        "long_view": (rng.random(N) < chance).astype(float),
        "like": np.where(rng.random(N) < 0.5, np.nan, (rng.random(N) < 0.2 * chance).astype(float)),
    }
    surfaces = rng.choice(["feed", "groups", "pages"], N, p=[0.7, 0.25, 0.05])
    rows = split_rows(
        users=users,
        items=items,
        surfaces=surfaces,
        days=days,
        labels=labels,
        train=days < 20220428,
        validation=days == 20220428,
        test=days > 20220428,
    )
    return rows, content, interest


def made_arms(content: np.ndarray, interest: np.ndarray, shift: float = 0.0) -> dict[str, ArmScores]:
    def chance(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(1 - x))

    both = chance(content + interest)
    return {
        "content-first": ArmScores(
            order=content, heads={"long_view": chance(content), "click": np.sqrt(chance(content))}, calibrated=True
        ),
        "interest-first": ArmScores(order=interest - 5),
        "unified": ArmScores(
            order=content + interest,
            heads={"long_view": both, "click": np.sqrt(both) - shift * np.sqrt(both), "like": 0.2 * both},
            calibrated=True,
        ),
    }


@pytest.fixture(scope="module")
def answered() -> SideBySide:
    rows, content, interest = made_log()
    return side_by_side(made_arms(content, interest), rows, PLAN)


def one(answer: SideBySide, **wanted: str) -> Comparison:
    rows = [row for row in answer.comparisons if all(getattr(row, key) == value for key, value in wanted.items())]
    assert len(rows) == 1, rows
    return rows[0]


def verdict(answer: SideBySide, words: str) -> Verdict:
    return next(row for row in answer.verdicts if words in row.claim)


def test_a_better_unified_arm_is_shown_to_be_better(answered: SideBySide) -> None:
    assert [row.answer for row in answered.verdicts] == ["holds"] * 3 + [answered.verdicts[3].answer]
    gain = verdict(answered, "better legacy stack").difference
    assert gain is not None
    assert 0 < gain.low < gain.mid < gain.high
    assert gain.source == "bootstrap over users, Poisson weights, 200 resamples, seed 0"


def test_numbers_are_those_of_the_plain_metrics(answered: SideBySide) -> None:
    rows, content, interest = made_log()
    test = rows.test
    labels, users = rows.labels["long_view"][test], rows.users[test]
    for arm, score in (("unified", content + interest), ("interest-first", interest)):
        cell = next(c for c in answered.cells if (c.surface, c.head, c.arm) == ("all", "long_view", arm))
        assert cell.auc == pytest.approx(metrics.auc(score[test], labels))
        assert cell.gauc == pytest.approx(metrics.grouped_auc(score[test], labels, users))
        assert cell.ndcg == pytest.approx(metrics.ndcg_at(score[test], labels, users))
        primary = next(p for p in answered.primary if (p.surface, p.arm, p.score) == ("all", arm, "order"))
        assert primary.primary is not None
        assert primary.primary.mid == pytest.approx(metrics.primary(score[test], labels, users))
    feed = test & (rows.surfaces == "feed")
    cell = next(c for c in answered.cells if (c.surface, c.head, c.arm) == ("feed", "click", "unified"))
    assert cell.rows == feed.sum()
    assert cell.auc == pytest.approx(metrics.auc((content + interest)[feed], rows.labels["click"][feed]))


def test_rows_without_a_known_outcome_are_left_out(answered: SideBySide) -> None:
    rows, _, _ = made_log()
    cell = next(c for c in answered.cells if (c.surface, c.head, c.arm) == ("all", "like", "unified"))
    assert cell.rows == np.isfinite(rows.labels["like"][rows.test]).sum()


def test_only_arms_that_tell_probabilities_are_judged_on_them(answered: SideBySide) -> None:
    by_arm = {c.arm: c for c in answered.cells if (c.surface, c.head) == ("all", "long_view")}
    assert by_arm["unified"].calibration_error is not None
    assert by_arm["unified"].calibration_error < 0.04
    assert by_arm["unified"].predicted_over_observed == pytest.approx(1, abs=0.08)
    assert by_arm["unified"].normalised_entropy < by_arm["content-first"].normalised_entropy < 1  # type: ignore[operator]
    for arm in ("interest-first", "popularity", "rank-average"):
        assert by_arm[arm].calibration_error is None
        assert by_arm[arm].log_loss is None


def test_the_better_legacy_is_chosen_on_validation_even_where_test_says_otherwise() -> None:
    rows, content, interest = made_log()
    noise = np.random.default_rng(0).normal(size=N)
    flip = {
        "content-first": ArmScores(order=np.where(rows.test, content, noise)),  # good on test, noise on validation
        "interest-first": ArmScores(order=np.where(rows.test, noise, interest)),
        "unified": ArmScores(order=content + interest),
    }
    answer = side_by_side(flip, rows, PLAN)
    chosen = one(answer, family="primary", metric="primary", chosen_on="chosen on validation")
    assert chosen.against == "interest-first"
    assert one(answer, family="heads", head="click", surface="feed").against == "interest-first"


def test_the_blend_is_the_mean_rank_within_the_user(answered: SideBySide) -> None:
    rows, content, interest = made_log()
    test = rows.test
    ranks = np.zeros(int(test.sum()))
    for user in np.unique(rows.users[test]):
        own = rows.users[test] == user
        for score in (content[test], interest[test]):
            ranks[own] += score[own].argsort().argsort()
    expected = metrics.primary(ranks, rows.labels["long_view"][test], rows.users[test])
    blend = next(p for p in answered.primary if (p.surface, p.arm) == ("all", "rank-average"))
    assert blend.primary is not None
    assert blend.primary.mid == pytest.approx(expected)


def test_a_worse_head_is_named_and_the_claim_does_not_hold() -> None:
    rows, content, interest = made_log()
    arms = made_arms(content, interest)
    heads = dict(arms["unified"].heads)
    arms["unified"] = replace(arms["unified"], heads=heads | {"click": np.random.default_rng(1).random(N)})
    answer = side_by_side(arms, rows, PLAN)
    for words in ("as measured", "by its interval"):
        found = verdict(answer, words)
        assert found.answer == "does not hold"
        assert "feed/click" in found.sentence
    assert verdict(answer, "better legacy stack").answer == "holds"


def test_equal_arms_gain_nothing_and_say_so() -> None:
    rows, content, _ = made_log()
    same = {name: ArmScores(order=content) for name in ("content-first", "interest-first", "unified")}
    answer = side_by_side(same, rows, PLAN)
    difference = one(answer, family="primary", metric="primary", chosen_on="chosen on validation").difference
    assert difference is not None
    assert (difference.low, difference.mid, difference.high) == (0, 0, 0)
    assert verdict(answer, "better legacy stack").answer == "does not hold"
    assert "+0.0000 [+0.0000, +0.0000]" in verdict(answer, "better legacy stack").sentence


def test_a_gain_that_is_not_sure_is_undecided() -> None:
    rows, content, interest = made_log()
    rng = np.random.default_rng(3)
    arms = {
        "content-first": ArmScores(order=content),
        "interest-first": ArmScores(order=content + rng.normal(size=N)),
        "unified": ArmScores(order=content + 0.01 * interest),
    }
    few = rows.test & (np.cumsum(rows.test) <= 1_000)
    answer = side_by_side(arms, replace(rows, test=few), PLAN)
    gain = verdict(answer, "better legacy stack")
    assert gain.difference is not None
    assert gain.difference.mid > 0 >= gain.difference.low
    assert gain.answer == "undecided"


def test_parts_too_small_are_shown_but_not_judged(answered: SideBySide) -> None:
    small = one(answered, family="heads", head="like", surface="pages")
    assert not small.enough
    assert small.p_worse is None
    assert "pages/like" not in verdict(answered, "as measured").sentence


def test_slices_follow_training_counts(answered: SideBySide) -> None:
    rows, _, _ = made_log()
    cold = one(answered, family="slices", slice="cold items", against="rank-average")
    known = one(answered, family="slices", slice="known items", against="rank-average")
    assert cold.rows == (rows.test & (rows.item_train_counts < PLAN.cold_item_below)).sum()
    assert cold.rows + known.rows == rows.test.sum()
    assert {row.slice for row in answered.comparisons if row.family == "slices"} == {
        "cold items",
        "known items",
        "light users",
        "regular users",
    }


def test_same_seed_same_answer_and_it_is_json(answered: SideBySide) -> None:
    rows, content, interest = made_log()
    again = side_by_side(made_arms(content, interest), rows, PLAN)
    assert msgspec.json.encode(again) == msgspec.json.encode(answered)
    assert msgspec.json.decode(msgspec.json.encode(answered), type=SideBySide) == answered
    other = side_by_side(made_arms(content, interest), rows, replace(PLAN, seed=1))
    assert other.cells == answered.cells
    assert other.comparisons != answered.comparisons


def test_tables_are_flat(answered: SideBySide) -> None:
    for table in (answered.as_table(), answered.primary_table(), answered.comparison_table()):
        assert table
        assert all(isinstance(value, str | int | float | None) for row in table for value in row.values())
    assert {"difference", "difference_low", "difference_high"} <= set(answered.comparison_table()[0])


def test_a_random_and_a_perfect_order_are_the_ends_of_the_skill_scale(answered: SideBySide) -> None:
    rows, _, _ = made_log()
    labels = rows.labels["long_view"]
    arms = {
        "content-first": ArmScores(order=np.zeros(N)),
        "interest-first": ArmScores(order=np.zeros(N)),
        "unified": ArmScores(order=labels),
    }
    skill = {p.arm: p.skill for p in side_by_side(arms, rows, PLAN).primary if p.surface == "all"}
    assert skill["unified"] == pytest.approx(1)
    assert skill["content-first"] == pytest.approx(0)


def test_counts_and_popularity_come_from_training_alone() -> None:
    items, labels = np.array([1, 1, 2, 2, 1]), np.array([1, 0, 1, np.nan, 1])
    train = np.array([True, True, True, True, False])
    overall = 2 / 3
    expected_1, expected_2 = (1 + 20 * overall) / 22, (1 + 20 * overall) / 21
    assert popularity(items, labels, train) == pytest.approx(
        [expected_1, expected_1, expected_2, expected_2, expected_1]
    )
    changed = labels.copy()
    changed[4] = 0
    assert (popularity(items, changed, train) == popularity(items, labels, train)).all()


def test_public_figures_stand_only_beside_their_own_log(answered: SideBySide) -> None:
    assert answered.public_figures == ()
    rows, content, interest = made_log()
    told = side_by_side(made_arms(content, interest), rows, replace(PLAN, public_log="kuairand_pure"))
    assert [figure.primary for figure in told.public_figures] == [0.4753, 0.5715, 0.5946, 0.6143, 0.8645]
    assert "20220429 to 20220508, ours for 20220429 to 20220430" in told.public_note
    official = replace(rows, days=np.where(rows.test, np.where(np.arange(N) % 2, 20220429, 20220508), rows.days))
    same = side_by_side(made_arms(content, interest), official, replace(PLAN, public_log="kuairand_pure"))
    assert same.public_note.startswith("The same test days")


def test_what_cannot_be_compared_is_refused() -> None:
    rows, content, interest = made_log()
    arms = made_arms(content, interest)
    broken = content.copy()
    broken[np.flatnonzero(rows.test)[0]] = np.nan
    unjudged = content.copy()
    unjudged[~(rows.test | rows.validation)] = np.nan
    side_by_side(arms | {"unified": ArmScores(order=unjudged)}, rows, PLAN)  # rows of training are never read
    for code, given in (
        ("evaluate-005", {name: arms[name] for name in ("content-first", "unified")}),
        ("evaluate-005", arms | {"rank-average": arms["unified"]}),
        ("evaluate-002", arms | {"unified": ArmScores(order=content[:-1])}),
        ("evaluate-001", arms | {"unified": ArmScores(order=broken)}),
    ):
        with pytest.raises(DataError) as refused:
            side_by_side(given, rows, PLAN)
        assert refused.value.code == code
    with pytest.raises(DataError) as refused:
        replace(rows, validation=rows.test)
    assert refused.value.code == "evaluate-004"
    with pytest.raises(DataError) as refused:
        replace(rows, test=np.zeros(N, bool))
    assert refused.value.code == "evaluate-004"
    with pytest.raises(DataError) as refused:
        side_by_side(arms, rows, replace(PLAN, primary_head="long_vieww"))
    assert refused.value.code == "evaluate-005"
    assert "long_view" in refused.value.hint


def test_the_split_hash_names_the_rows() -> None:
    rows, _, _ = made_log()
    assert rows.split_hash == made_log()[0].split_hash
    assert rows.split_hash != made_log(2)[0].split_hash
    assert rows.split_hash != replace(rows, test=rows.test & (rows.days == 20220430)).split_hash


@pytest.mark.real
def test_our_popularity_and_random_orders_lie_beside_the_public_ones(pack) -> None:
    folder = pack("kuairand_pure")
    log = pl.read_parquet(folder / "log_standard_4_25_to_5_05_pure.parquet").unique(maintain_order=True)
    days, users = log["date"].to_numpy(), log["user_id"].to_numpy()
    labels, test = log["long_view"].to_numpy(), days >= 20220429
    score = popularity(log["video_id"].to_numpy(), labels, ~test)
    random, perfect = (metrics.primary(order[test], labels[test], users[test]) for order in (labels * 0, labels))
    own = metrics.primary(score[test], labels[test], users[test])
    assert random == pytest.approx(0.4753, abs=0.005)  # the organisers' random order, three test days more
    assert own is not None
    assert random is not None
    assert perfect is not None
    assert 0.18 < (own - random) / (perfect - random) < 0.26  # theirs: .247, with sixteen more training days
