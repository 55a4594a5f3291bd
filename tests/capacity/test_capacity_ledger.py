"""Attribution without a rest, and a ledger that cannot flatter: twenty planted frauds."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import CapacityError
from mainstem.capacity.attribution import attribute, log_mean, shapley
from mainstem.capacity.ledger import append, read_ledger
from mainstem.capacity.savings import Baseline, saving

BASE = Baseline("feed ranking", "GPU-h/wk", {"requests": 100.0}, {"candidates": 5.0, "cost": 2.0})
MEASURED = {"requests": 120.0, "candidates": 4.0, "cost": 1.5}
NET = 120 * 5 * 2 - 120 * 4 * 1.5 - 30 - 10
ANY = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=6
)

Row = tuple[str, str, str, str, dict[str, Any]]


def held(baseline: Baseline = BASE) -> dict[str, Any]:
    return {"drivers": asdict(baseline), "sha256": baseline.sha256}


def honest(claim: str = "S1", scope: str = "feed/rank", receipt: str = "R-1") -> list[Row]:
    return [
        ("idea", claim, "ann", "2026-01-05", {"title": "fewer candidates", "scope": scope}),
        ("forecast", claim, "ann", "2026-01-12", {"p50": 450, "p80": 380, "unit": "GPU-h/wk"}),
        (
            "committed",
            claim,
            "ann",
            "2026-02-02",
            {"owner": "ann", "due": "2026-06-30", "unit": "GPU-h/wk", "amount": 380, "baseline": held()},
        ),
        ("in flight", claim, "ann", "2026-03-02", {"launch": "feed-unified"}),
        (
            "delivered",
            claim,
            "ann",
            "2026-05-04",
            {
                "measured": MEASURED,
                "dual": 30,
                "migration": 10,
                "unit": "GPU-h/wk",
                "amount": NET,
                "weeks": ["2026-W14", "2026-W17"],
                "source": "usage export",
                "baseline_sha256": BASE.sha256,
            },
        ),
        (
            "verified",
            claim,
            "bob",
            "2026-06-01",
            {
                "receipt": {"id": receipt, "kind": "reclaimed", "units": NET},
                "units": NET,
                "unit": "GPU-h/wk",
                "weeks": ["2026-W14", "2026-W17"],
            },
        ),
    ]


def write(file: Path, rows: list[Row]) -> None:
    for kind, claim, by, day, body in rows:
        append(file, kind, claim, by, day, body)


def changed(at: int, *, by: str = "", day: str = "", **more: Any) -> Callable[[list[Row]], list[Row]]:
    def change(rows: list[Row]) -> list[Row]:
        kind, claim, who, when, body = rows[at]
        return [*rows[:at], (kind, claim, by or who, day or when, body | more), *rows[at + 1 :]]

    return change


def second(**of: str) -> Callable[[list[Row]], list[Row]]:
    other = honest("S2", of.get("scope", "groups/rank"), of.get("receipt", "R-2"))
    return lambda rows: [*rows, *((k, c, b, "2026-07-01", body) for k, c, b, _, body in other)]


def rebased(**of: str) -> Callable[[list[Row]], list[Row]]:
    softer = held(replace(BASE, efficiency={"candidates": 9.0, "cost": 2.0}))
    body = {
        "change": of.get("change", "CR-7"),
        "approved_by": of.get("approved_by", "bob"),
        "baseline": softer,
        "reason": "r",
    }
    at = int(of.get("at", 4))
    return lambda rows: [*rows[:at], ("rebaseline", "S1", "ann", rows[at - 1][3], body), *rows[at:]]


FRAUDS: dict[str, tuple[Callable[[list[Row]], list[Row]], str]] = {
    "demand fell and is called efficiency": (changed(4, amount=1_000.0 - 120 * 4 * 1.5 - 40), "capacity-039"),
    "gross is claimed, dual running forgotten": (changed(4, amount=NET + 40), "capacity-039"),
    "a negative cost of the migration": (changed(4, migration=-200, amount=NET + 210), "capacity-033"),
    "a forecast is delivered unmeasured": (changed(4, measured={}, amount=450), "capacity-032"),
    "a driver is left out": (changed(4, measured={"requests": 120.0, "cost": 1.5}), "capacity-032"),
    "measured against an edited baseline": (changed(4, baseline_sha256="f" * 64), "capacity-037"),
    "the baseline is edited, its hash is not": (
        changed(2, baseline={"drivers": asdict(replace(BASE, demand={"requests": 200.0})), "sha256": BASE.sha256}),
        "capacity-037",
    ),
    "a new baseline without a change request": (rebased(change=""), "capacity-034"),
    "a new baseline approved by its owner": (rebased(approved_by="ann"), "capacity-040"),
    "a new baseline after the measurement": (rebased(at="5"), "capacity-037"),
    "verified by its owner": (changed(5, by="ann"), "capacity-040"),
    "verified without a receipt": (changed(5, receipt=None), "capacity-034"),
    "GPUs not given back": (changed(5, receipt={"id": "R-1", "kind": "reclaimed", "units": 100}), "capacity-039"),
    "a purchase counted as a reclaim": (
        changed(5, receipt={"id": "R-1", "kind": "purchase", "units": NET}),
        "capacity-039",
    ),
    "one receipt for two claims": (second(receipt="R-1"), "capacity-036"),
    "two claims on one saving": (second(scope="feed/rank"), "capacity-036"),
    "another unit": (changed(4, unit="A100-h/wk"), "capacity-038"),
    "verified before delivered": (lambda rows: [*rows[:4], rows[5]], "capacity-035"),
    "backdated": (changed(5, day="2026-04-01"), "capacity-034"),
    "verified for other weeks": (changed(5, weeks=["2026-W01", "2026-W52"]), "capacity-039"),
    "somebody else commits": (changed(2, owner="eve"), "capacity-040"),
    "corrected upwards": (
        lambda rows: [*rows, ("correction", "S1", "ann", "2026-06-02", {"of": 4, "amount": 900, "reason": "r"})],
        "capacity-039",
    ),
}


@given(pairs=ANY)
@settings(max_examples=150, deadline=None)
def test_the_parts_add_up_to_the_change(pairs: dict[str, tuple[float, float]]):
    before, after = ({name: pair[at] for name, pair in pairs.items()} for at in (0, 1))
    change = math.prod(after.values()) - math.prod(before.values())
    scale = max(1.0, math.prod(after.values()), math.prod(before.values()))
    assert abs(math.fsum(attribute(before, after).values()) - change) <= 1e-9 * scale
    if len(pairs) <= 4:
        parts = shapley(lambda drivers: math.prod(drivers.values()), before, after)
        assert abs(math.fsum(parts.values()) - change) <= 1e-9 * scale


def test_the_logarithmic_mean_is_steady_and_attribution_names_who_moved():
    assert log_mean(2.0, 2.0) == 2.0
    assert log_mean(1.0 + 1e-13, 1.0) == pytest.approx(1.0, abs=1e-12)
    parts = attribute({"demand": 100.0, "cost": 2.0}, {"demand": 100.0, "cost": 1.0})
    assert parts == {"demand": 0.0, "cost": pytest.approx(-100.0, abs=1e-9)}


def test_demand_moves_the_counterfactual_and_not_the_saving():
    found = saving(BASE, MEASURED, dual=30, migration=10)
    assert (found.counterfactual, found.actual, found.net) == (1_200.0, 720.0, NET)
    assert math.fsum(found.parts.values()) == pytest.approx(720.0 - 1_000.0, abs=1e-9)
    assert saving(BASE, {**BASE.demand, **BASE.efficiency, "requests": 10.0}).gross == 0.0


def test_an_honest_claim_counts_once_it_is_verified(tmp_path: Path):
    file = tmp_path / "ledger.jsonl"
    write(file, honest()[:5])
    assert read_ledger(file).book.verified == {"GPU-h/wk": 0.0}
    write(file, honest()[5:])
    found = read_ledger(file)
    assert found.book.verified == {"GPU-h/wk": NET}
    assert found.book.promised == {"GPU-h/wk": 380.0}
    append(
        file, "correction", "S1", "ann", "2026-06-03", {"of": 4, "amount": 400.0, "reason": "a node was counted twice"}
    )
    assert read_ledger(file, head=found.head).book.verified == {"GPU-h/wk": 400.0}
    append(file, "receipt void", "S1", "bob", "2026-06-04", {"receipt": "R-1", "reason": "taken back"})
    assert read_ledger(file).book.verified == {"GPU-h/wk": 0.0}
    append(file, "withdrawn", "S1", "ann", "2026-06-05", {"reason": "the surface went"})
    assert read_ledger(file).book.claims["S1"].state == "withdrawn"
    append(file, "idea", "S9", "ann", "2026-06-06", {"title": "again", "scope": "feed/rank"})


@pytest.mark.parametrize("name", FRAUDS)
def test_a_planted_fraud_is_refused_and_nothing_is_written(name: str, tmp_path: Path):
    fraud, code = FRAUDS[name]
    file = tmp_path / "ledger.jsonl"
    with pytest.raises(CapacityError) as refused:
        write(file, fraud(honest()))
    assert refused.value.code == code
    read_ledger(file)


@pytest.mark.parametrize("how", ["edited", "removed", "swapped", "cut", "replaced", "no json"])
def test_a_file_that_was_tampered_with_is_refused(how: str, tmp_path: Path):
    file = tmp_path / "ledger.jsonl"
    write(file, honest())
    head = read_ledger(file).head
    lines = file.read_bytes().splitlines(keepends=True)
    match how:
        case "edited":
            entry = json.loads(lines[2])
            entry["body"]["amount"] = 1
            lines[2] = json.dumps(entry).encode() + b"\n"
        case "removed":
            del lines[3]
        case "swapped":
            lines[1], lines[2] = lines[2], lines[1]
        case "cut":
            lines[-1] = lines[-1][:-20]
        case "no json":
            lines[-1] = b"saved\n"
        case _:
            lines = lines[:-1]
    file.write_bytes(b"".join(lines))
    with pytest.raises(CapacityError) as refused:
        read_ledger(file, head=head)
    assert refused.value.code == ("capacity-042" if how == "replaced" else "capacity-041")


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (lambda: attribute({"a": 1}, {"b": 1}), "capacity-030"),
        (lambda: attribute({"a": 1}, {"a": 0}), "capacity-030"),
        (lambda: shapley(lambda _: 0.0, {}, {}), "capacity-030"),
        (lambda: Baseline("x", "u", {"a": 1.0}, {"a": 1.0}), "capacity-031"),
    ],
)
def test_what_cannot_be_attributed_is_refused(broken: Callable[[], object], code: str):
    with pytest.raises(CapacityError) as refused:
        broken()
    assert refused.value.code == code
