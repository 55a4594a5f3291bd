from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from small_stack import FEATURES, HEADS, RULES, SOURCES, SmallStack, untold

from mainstem.base.errors import DataError
from mainstem.parity.results import ShadowDiff
from mainstem.parity.shadow import diff_traces
from mainstem.parity.trace import STAGES, StageRecord

FAULTS = [
    *(("features", name) for name in FEATURES),
    *(("source", name) for name in SOURCES),
    *(("model", name) for name in HEADS),
    *(("value", name) for name in HEADS),
    *(("rule", name) for name in RULES),
]


def shadow(
    fault: tuple[str, str], seed: int, requests: int = 12, product: bool = False, noise: float = 0.0, hide: tuple = ()
) -> ShadowDiff:
    stack = SmallStack(seed, product)
    pairs = [
        (stack.trace(seed * 1_000 + n), untold(stack.trace(seed * 1_000 + n, fault, noise), *hide))
        for n in range(requests)
    ]
    return diff_traces(pairs, left="live", right="shadow")


@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_every_seeded_fault_is_named(fault: tuple[str, str]) -> None:
    for seed in range(3):
        found = shadow(fault, seed).first
        assert found is not None
        assert (found.stage, found.culprit) == fault
        assert found.not_told == ()
        assert f"{found.culprit!r}" in found.sentence


@pytest.mark.parametrize("seed", range(10))
def test_five_of_five_with_candidates_that_flicker(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for stage in STAGES[:5]:
        fault = FAULTS[rng.choice([at for at, (kind, _) in enumerate(FAULTS) if kind == stage])]
        found = shadow(fault, seed, noise=0.2, product=bool(seed % 2)).first
        assert found is not None
        assert (found.stage, found.culprit) == fault


@pytest.mark.parametrize("product", [False, True])
def test_a_changed_weight_is_found_from_the_values_when_no_terms_are_told(product: bool) -> None:
    for seed in range(3):
        for head in HEADS:
            found = shadow(("value", head), seed, product=product, hide=("terms",)).first
            assert found is not None
            assert (found.stage, found.culprit) == ("value", head)


def test_equal_stacks_agree_everywhere() -> None:
    diff = shadow(("", ""), 1)
    assert diff.first is None
    assert diff.partings == ()
    assert diff.same_requests == diff.requests == 12
    assert "agree" in diff.sentence
    assert all(stage.differ_share == 0 for stage in diff.stages)
    assert diff.slate.same_share == diff.slate.overlap_at_k == diff.slate.rank_biased_overlap == pytest.approx(1)
    assert diff.values is not None
    assert diff.values.kendall_tau == pytest.approx(1)
    assert all(row.largest == 0 for row in (*diff.features, *diff.heads))
    assert all(row.overlap == 1 for row in diff.sources)


def test_an_upstream_difference_explains_those_after_it() -> None:
    stages = {stage.stage: stage for stage in shadow(("features", "f0"), 2).stages}
    assert stages["features"].own_share == 1
    for stage in ("model", "value"):
        assert stages[stage].differ_share == 1
        assert stages[stage].own_share == 0
    assert stages["slate"].own_share == stages["rule"].own_share == 0
    assert stages["source"].differ_share == 0


def test_two_faults_in_different_requests_are_both_named() -> None:
    stack = SmallStack(3)
    pairs = [
        (stack.trace(n), stack.trace(n, ("rule", "integrity") if n % 3 else ("source", "fresh"))) for n in range(30)
    ]
    diff = diff_traces(pairs)
    assert [(one.stage, one.culprit, one.requests) for one in diff.partings if one.stage == "source"] == [
        ("source", "fresh", 10)
    ]
    assert diff.first is not None
    assert (diff.first.stage, diff.first.culprit) == ("rule", "integrity")
    assert all(example % 3 for example in diff.first.examples)


def test_measures_of_each_stage() -> None:
    dropped = shadow(("source", "topics"), 4)
    worst = dropped.sources[0]
    assert (worst.name, worst.right, worst.overlap, worst.overlap_at_k) == ("topics", 0, 0, 0)
    assert worst.left_only == worst.left > 0
    scaled = shadow(("features", "f3"), 4)
    assert scaled.features[0].name == "f3"
    assert scaled.features[0].differ_share == 1
    assert scaled.features[0].largest_relative == pytest.approx(0.999)
    assert {row.differ_share for row in scaled.features[1:]} == {0}
    shifted = {row.name: row for row in shadow(("model", "click"), 4).heads}
    assert shifted["click"].differ_share == shifted["like"].differ_share == 1
    assert shifted["long_view"].largest == 0
    assert shifted["click"].mean > shifted["like"].mean > 0
    flipped = shadow(("value", "long_view"), 4)
    assert flipped.values is not None
    assert flipped.values.differ_share == 1
    assert flipped.values.kendall_tau is not None
    assert flipped.values.kendall_tau < 0.9
    assert flipped.slate.overlap_at_k < 1
    rules = {row.name: row for row in shadow(("rule", "seen"), 4).rules}
    assert tuple(rules) == RULES
    assert rules["seen"].left > 0 == rules["seen"].right
    assert rules["seen"].left_only == rules["seen"].left


def test_what_the_other_side_does_not_tell_is_said() -> None:
    remote = shadow(("model", "like"), 5, hide=("features", "source_mask"))
    told = {stage.stage: stage.told for stage in remote.stages}
    assert told == {"features": False, "source": False, "model": True, "value": True, "rule": True, "slate": True}
    assert remote.first is not None
    assert (remote.first.stage, remote.first.culprit) == ("model", "like")
    assert remote.first.not_told == ("features", "source")
    assert "features, source not told" in remote.first.sentence
    silent = shadow(
        ("value", "click"),
        5,
        hide=("features", "source_mask", "predictions", "values", "terms", "removed_by", "demoted_by"),
    )
    assert silent.values is None
    assert silent.first is not None


def test_only_slates_told_still_says_that_they_differ() -> None:
    stack = SmallStack(6)
    pairs = []
    for n in range(10):
        other = stack.trace(n, ("value", "click"))
        bare = StageRecord(request_id=n, item_ids=other.slate, slate=other.slate)
        pairs.append((stack.trace(n), bare))
    diff = diff_traces(pairs)
    assert diff.first is not None
    assert diff.first.stage == "slate"
    assert diff.first.not_told == STAGES[:5]
    assert diff.values is None
    assert diff.sources == diff.rules == diff.heads == diff.features == ()


def test_a_model_that_does_not_answer_is_the_model_and_not_the_value() -> None:
    stack = SmallStack(7)
    for broken in (None, np.nan):
        pairs = []
        for n in range(5):
            own = stack.trace(n)
            assert own.predictions is not None
            lost = None if broken is None else own.predictions * np.nan
            pairs.append((own, replace(own, predictions=lost, values=np.arange(len(own.item_ids)) * 0.1)))
        first = diff_traces(pairs).first
        assert first is not None
        assert first.stage == "model"
    assert first.culprit in HEADS


def test_candidates_that_never_reached_a_stage_are_no_difference() -> None:
    stack = SmallStack(8)
    own = stack.trace(1)
    assert own.features is not None
    assert own.predictions is not None
    assert own.values is not None
    cut = np.arange(len(own.item_ids)) >= 60

    def without(array: np.ndarray) -> np.ndarray:
        return np.where(cut[:, None] if array.ndim == 2 else cut, np.nan, array)

    shorter = replace(
        own,
        features=without(own.features),
        predictions=without(own.predictions),
        values=without(own.values),
    )
    diff = diff_traces([(own, shorter)])
    assert diff.first is None
    assert diff.heads[0].rows == 60
    lost = replace(own, features=np.where(np.arange(8) == 4, np.nan, own.features))
    first = diff_traces([(own, lost)]).first
    assert first is not None
    assert (first.stage, first.culprit) == ("features", "f4")


def test_a_feature_that_is_only_late_on_one_side_is_named() -> None:
    own = SmallStack(9).trace(1)
    state = np.zeros((len(own.item_ids), 8), np.int8)
    late = state.copy()
    late[:, 6] = 2
    diff = diff_traces([(replace(own, feature_state=state), replace(own, feature_state=late))])
    assert diff.first is not None
    assert (diff.first.stage, diff.first.culprit) == ("features", "f6")
    assert next(row for row in diff.features if row.name == "f6").state_differ_share == 1


def test_features_that_cannot_be_told_apart_are_both_named() -> None:
    own = SmallStack(10).trace(1)
    assert own.features is not None
    both = own.features * np.where(np.isin(np.arange(8), [0, 1]), 1_000, 1)
    first = diff_traces([(own, replace(own, features=both))]).first
    assert first is not None
    assert {first.culprit, *first.as_likely} == {"f0", "f1"}


def test_names_may_stand_in_another_order_and_rounding_is_no_difference() -> None:
    own = SmallStack(11).trace(1)
    assert own.features is not None
    assert own.predictions is not None
    assert own.source_mask is not None
    assert own.values is not None
    turned = replace(
        own,
        feature_names=own.feature_names[::-1],
        features=own.features[:, ::-1].astype(np.float32),
        head_names=own.head_names[::-1],
        predictions=own.predictions[:, ::-1] + 1e-9,
        values=own.values + 1e-8,
        source_names=own.source_names[::-1],
        source_mask=np.array([int(f"{int(mask):04b}"[::-1], 2) for mask in own.source_mask]),
    )
    order = np.random.default_rng(0).permutation(len(own.item_ids))
    moved = {
        name: getattr(turned, name)[order]
        for name in (
            "item_ids",
            "source_mask",
            "features",
            "predictions",
            "values",
            "terms",
            "removed_by",
            "demoted_by",
        )
    }
    diff = diff_traces([(own, replace(turned, **moved))])
    assert diff.first is None
    other = replace(own, feature_names=("other", *own.feature_names[1:]))
    assert diff_traces([(own, other)]).features_on_one_side == ("f0", "other")


def test_a_later_rule_that_takes_over_is_not_the_culprit() -> None:
    """Rules may be applied item by item: with ``seen`` off, ``cap`` (named before it) removes what ``seen`` did."""
    items, slate = np.arange(40), np.arange(40)[-5:]
    left = np.where(items < 5, 0, np.where(items < 25, 1, -1))
    right = np.where(items < 25, 0, -1)
    own = StageRecord(request_id=1, item_ids=items, slate=slate, rule_names=("cap", "seen"), removed_by=left)
    first = diff_traces([(own, replace(own, removed_by=right))]).first
    assert first is not None
    assert (first.stage, first.culprit) == ("rule", "seen")


def test_a_side_that_never_names_a_rule_does_not_tell_rules_but_one_that_rarely_does_tells_them() -> None:
    stack = SmallStack(16)
    own = [stack.trace(n) for n in range(6)]
    none = np.full(len(own[0].item_ids), -1)
    nameless = [
        replace(
            one,
            source_names=(),
            source_mask=none * 0,
            values=none * np.nan,
            rule_names=(),
            removed_by=none,
            demoted_by=np.zeros((len(none), 0), bool),
        )
        for one in own
    ]
    diff = diff_traces(list(zip(own, nameless, strict=True)))
    assert {stage.stage for stage in diff.stages if not stage.told} == {"source", "value", "rule"}
    assert diff.first is None
    moved = np.zeros((len(none), 0), bool)
    rare = [own[0], *(replace(one, rule_names=(), removed_by=none, demoted_by=moved) for one in own[1:])]
    first = diff_traces(list(zip(own, rare, strict=True))).first
    assert first is not None
    assert first.stage == "rule"


def test_order_alone_is_the_slates_own_doing() -> None:
    own = SmallStack(12).trace(1)
    first = diff_traces([(own, replace(own, slate=own.slate[::-1]))]).first
    assert first is not None
    assert (first.stage, first.culprit) == ("slate", "order")


def test_the_answer_is_json_and_deterministic() -> None:
    one, again = shadow(("model", "like"), 13), shadow(("model", "like"), 13)
    assert msgspec.json.encode(one) == msgspec.json.encode(again)
    assert msgspec.json.decode(msgspec.json.encode(one), type=ShadowDiff) == one
    assert [row["stage"] for row in one.as_table()] == list(STAGES)
    assert {stage.left_ms for stage in one.stages if stage.stage == "model"} == {2.0}


def test_bad_input_is_refused() -> None:
    stack = SmallStack(14)
    own = stack.trace(1)
    for code, call in (
        ("parity-001", lambda: replace(own, values=np.zeros(3))),
        ("parity-001", lambda: replace(own, feature_names=("a",))),
        ("parity-002", lambda: replace(own, item_ids=np.zeros_like(own.item_ids))),
        ("parity-004", lambda: diff_traces([(own, stack.trace(2))])),
        ("parity-005", lambda: diff_traces([])),
    ):
        with pytest.raises(DataError) as refused:
            call()
        assert refused.value.code == code


def test_no_candidates_at_all_is_no_error() -> None:
    nothing = StageRecord(request_id=1, item_ids=np.empty(0, int), slate=np.empty(0, int), values=np.empty(0))
    assert diff_traces([(nothing, nothing)]).first is None
    some = SmallStack(15).trace(1)
    first = diff_traces([(some, replace(nothing, source_names=SOURCES, source_mask=np.empty(0, int)))]).first
    assert first is not None
    assert first.stage == "source"
