"""What three published experiments show, by plans written after the fact: ``python -m benchmarks.launch_real``.

The packs are looked for in MAINSTEM_DATA, else in ../shared/data beside the checkout.
"""

from __future__ import annotations

import math
import os
import tarfile
import tempfile
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl

from mainstem.cli.launch import analysis_text
from mainstem.data.loaders.experiments import (
    COOKIE_CATS_ARMS,
    HILLSTROM_ARMS,
    read_asos,
    read_cookie_cats,
    read_hillstrom,
)
from mainstem.launch.analyse import Arms, analyse
from mainstem.launch.boundaries import boundaries
from mainstem.launch.confidence_sequence import mixture_bound
from mainstem.launch.plan_file import parse_plan

HEAD = """
name = "{name}"
surfaces = ["all"]
legacy = ["before"]
[[steps]]
share = 0.5
hold_hours = 168
"""
HILLSTROM = """
[metrics.visit]
role = "primary"
kind = "binary"
column = "visit"
margin = 0.02
covariates = ["history", "recency", "newbie", "mens", "womens"]
[metrics.conversion]
role = "guardrail"
kind = "binary"
column = "conversion"
margin = 0.05
[metrics.spend]
role = "guardrail"
column = "spend"
margin = 0.05
covariates = ["history", "recency"]
"""
COOKIE_CATS = """
[metrics.back_7]
role = "primary"
kind = "binary"
column = "back_7"
margin = 0.01
[metrics.back_1]
role = "guardrail"
kind = "binary"
column = "back_1"
margin = 0.01
[metrics.rounds]
role = "diagnostic"
column = "rounds"
margin = 0.01
[metrics.rounds_capped]
role = "guardrail"
column = "rounds"
winsor_cap = 500.0
margin = 0.01
"""
TESTS = {"every look, uncorrected": "naive", "group-sequential, t^2 spending": "gst", "confidence sequence": "cs"}
MARGIN = 0.01
ALPHA = 0.05
LEAST_STEP = 2e-4


def pack(name: str, scratch: Path) -> Path:
    named = os.environ.get("MAINSTEM_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if (folder / name).is_dir():
        return folder / name
    with tarfile.open(folder / f"{name}.tar.xz") as tar:
        tar.extractall(scratch, filter="data")
    return scratch / name


def chi_squared(counts: list[int]) -> float:
    """p of an even split of two arms, read once."""
    z = abs(counts[0] - counts[1]) / math.sqrt(sum(counts))
    return 2 * NormalDist().cdf(-z)


def hillstrom(folder: Path) -> None:
    table = read_hillstrom(folder)
    for arm in HILLSTROM_ARMS[1:]:
        print(f"\n## hillstrom: {HILLSTROM_ARMS[0]} against {arm}\n")
        plan = parse_plan(HEAD.format(name="hillstrom") + HILLSTROM)
        print(analysis_text(analyse(table, plan, Arms("arm", HILLSTROM_ARMS[0], arm), by=["newbie"])))


def cookie_cats(folder: Path) -> None:
    table = read_cookie_cats(folder)
    print("\n## cookie_cats: gate_30 against gate_40\n")
    plan = parse_plan(HEAD.format(name="cookie-cats") + COOKIE_CATS)
    for title, rows in (
        ("all players", table),
        ("without the one of 49,854 rounds", table.filter(pl.col("rounds") < 40_000)),
    ):
        counts = [rows.filter(pl.col("arm") == arm).height for arm in COOKIE_CATS_ARMS]
        print(f"{title}: {counts[0]} and {counts[1]}, chi-squared p {chi_squared(counts):.4f}")
        print(analysis_text(analyse(rows, plan, Arms("arm", *COOKIE_CATS_ARMS))), "\n")


def asos(folder: Path) -> None:
    rows = [_sequence(part) for part in read_asos(folder).partition_by("experiment", "variant", "metric")]
    table = pl.DataFrame([row for row in rows if row is not None])
    alone = len(rows) - table.height
    print(
        f"\n## asos: {table.height} sequences of {table['experiment'].n_unique()} experiments ({alone} of one look left out)\n"
    )
    print(f"looks a sequence: median {table['looks'].median():.0f}, most {table['looks'].max()}")
    print("\nTwo-sided at .05 that new and old differ:")
    end = table["at_end"]
    for name, told in TESTS.items():
        some = table[told]
        gone = (some & ~end).sum()
        print(
            f"  {name:<32} says so at some look {some.sum():4d} ({some.mean():.1%}), of which not so at the end {gone:3d}"
        )
    print(f"  {'last look alone':<32} says so              {end.sum():4d} ({end.mean():.1%})")
    print(f"\nAt the last look, margin {MARGIN:.0%}, one-sided .05 each:")
    for word, count in table["word"].value_counts(sort=True).iter_rows():
        print(f"  {word:<30} {count:4d} ({count / table.height:.1%})")
    quiet = table.filter(~pl.col("at_end"))
    unknown, neutral = ((quiet["word"] == word).sum() for word in ("INCONCLUSIVE", "NEUTRAL"))
    print(f"\nof the {quiet.height} without a difference at the end {neutral} are NEUTRAL and {unknown} INCONCLUSIVE")
    days = table.filter(pl.col("first_pass").is_not_null())
    share = days["first_pass"].median()
    print(
        f"not worse by {MARGIN:.0%}, group-sequential: {days.height} sequences, at a median of {share:.0%} of their users"
    )


def _sequence(part: pl.DataFrame) -> dict[str, object] | None:
    new, old = (
        {name: part[f"{name}_{arm}"].to_numpy() for name in ("count", "mean", "variance")} for arm in ("t", "c")
    )
    errors = [arm["variance"] / arm["count"] for arm in (new, old)]
    users = new["count"] + old["count"]
    moved = np.r_[True, np.diff(users / users[-1]) > LEAST_STEP] & (errors[0] + errors[1] > 0)
    moved[-1] = errors[0][-1] + errors[1][-1] > 0
    keep = np.flatnonzero(moved)
    # The last look stands whatever: one that is too close to it gives way.
    keep = keep[(users[keep] < users[-1] * (1 - LEAST_STEP)) | (keep == len(users) - 1)]
    if len(keep) < 2:
        return None
    at, (new_error, old_error) = users[keep] / users[-1], (one[keep] for one in errors)
    y, x = new["mean"][keep], old["mean"][keep]
    size = np.abs(x) * MARGIN

    def score(difference: np.ndarray, share: float) -> np.ndarray:
        return difference / np.sqrt(new_error + share**2 * old_error)

    z = score(y - x, 1.0)
    not_worse, not_better = score(y - x + size, 1 - MARGIN), score(x - y + size, 1 + MARGIN)
    two = NormalDist().inv_cdf(1 - ALPHA / 2)
    one = NormalDist().inv_cdf(1 - ALPHA)
    passing = np.flatnonzero(not_worse >= boundaries(at, ALPHA).bound)
    worse = -score(y - x + size, 1 - MARGIN)[-1] > one
    word = (
        "WORSE BY MORE THAN THE MARGIN" if worse
        else "NEUTRAL" if min(not_worse[-1], not_better[-1]) > one
        else "NON-INFERIOR" if not_worse[-1] > one
        else "INCONCLUSIVE"
    )  # fmt: skip
    return {
        "experiment": part["experiment"][0],
        "looks": len(keep),
        "naive": bool((np.abs(z) > two).any()),
        "gst": bool((np.abs(z) > boundaries(at, ALPHA / 2).bound).any()),
        "cs": bool((np.abs(z) > mixture_bound(at, ALPHA / 2, 1.0)).any()),
        "at_end": bool(abs(z[-1]) > two),
        "word": word,
        "first_pass": float(at[passing[0]]) if len(passing) else None,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for read in (hillstrom, cookie_cats, asos):
            read(pack(read.__name__, Path(scratch)))


if __name__ == "__main__":
    main()
