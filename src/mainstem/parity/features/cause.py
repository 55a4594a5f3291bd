"""Why a feature diverges: the cause that makes most of its diverging rows equal, from evidence alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import numpy as np

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.parity.features.cells import cells_of
from mainstem.parity.features.claims import Claim, ranked
from mainstem.parity.features.compare import Comparison, Kept
from mainstem.parity.features.evidence import CAUSE_OF, Evidence, SideMeta, Variant
from mainstem.parity.features.meta import KEYS, STATE, FeatureMeta
from mainstem.parity.features.result import Diagnosis
from mainstem.parity.features.rows import paired
from mainstem.parity.features.signatures import signatures
from mainstem.parity.features.tables import NONE, Ints, ValueTable

SAMPLE: Final = 400
"""How many diverging rows of a feature, and as many agreeing ones, are computed again for each variant."""
_SAID: Final = {
    "timezone": "timezone",
    "window": "window_off_by_one",
    "default": "default",
    "dtype": "type",
    "join_key": "join_key",
    "late": "late",
    "source": "source",
    "version": "version",
}
"""What differs between the sides' own words, and the cause it points to."""
_WORDS: Final = {
    "version": "the two sides compute different versions of it",
    "log_gap": "the log lacks events the other side had",
    "duplicate": "the log holds events or rows twice",
    "late": "late events are treated in two ways",
    "stale_state": "it was served from state that had stopped following the log",
    "replica_lag": "it was served from a replica behind the log's head",
    "type": "one side keeps it in a narrower type",
    "unit": "the sides count it in different units",
    "timezone": "the sides' local time differs",
    "window_off_by_one": "the window reaches one tile too far or too short",
    "default": "the sides write different values for nothing",
    "join_key": "it was joined by another key",
    "truncated_embedding": "the vector or list was cut",
    "clock_skew": "the sides' clocks are apart",
    "double_count": "events were counted twice",
    "label_leak": "it has seen the outcome of its own request",
    "source": "the sides read different sources",
    "unknown": "nothing that was tried explains it",
}
_HOW: Final = {
    "recomputed": "computing it so makes {share} of the diverging rows equal",
    "signature": "the values of {share} of the diverging rows show it",
    "rows": "{share} of the diverging rows go together with it",
    "metadata": "the two sides say so themselves; no row proves it",
    "none": "give a recompute, lags or the log's gaps to look further",
}


def name_causes(comparison: Comparison, evidence: Evidence, of: Collection[str] | None = None) -> tuple[Diagnosis, ...]:
    """The cause of every feature that does not pass, or of those ``of`` names; worst feature first.

    Each hypothesis is a claim with the share of diverging rows it explains: shown by the values themselves, by computing a
    sample again with one thing done differently, by going together with lags, gaps and copies, or by the sides' own words.

    Raises:
        FeatureError: A variant has no known name (``parity-048``), or a recompute's table is no value table (``parity-042``).
    """
    _check_variants(evidence)
    failing = tuple(name for name in comparison.gate().failing if of is None or name in of)
    recomputed = _recomputed(comparison, evidence, failing)
    return tuple(_diagnosis(comparison, evidence, name, recomputed.get(name, [])) for name in failing)


def name_cause(comparison: Comparison, evidence: Evidence, feature: str | None = None) -> Diagnosis | None:
    """The cause of one feature, the worst unless told; None where it passes."""
    found = name_causes(comparison, evidence)
    return next((one for one in found if feature in (None, one.feature)), None)


def _check_variants(evidence: Evidence) -> None:
    for variant in evidence.variants:
        if variant.name not in CAUSE_OF:
            raise FeatureError(
                f"no variant is called {variant.name!r}", code="parity-048", hint=did_you_mean(variant.name, CAUSE_OF)
            )


def _diagnosis(comparison: Comparison, evidence: Evidence, name: str, recomputed: list[Claim]) -> Diagnosis:
    meta = next(meta for meta in comparison.metas if meta.name == name)
    kept = comparison.kept[name]
    said = list(_said(evidence.served_meta.get(name), evidence.offline_meta.get(name)))
    claims = [*recomputed, *signatures(meta, kept), *_with_rows(comparison, evidence, kept), *said]
    found = ranked(claims)
    best = found.best
    how = _HOW[best.basis].format(share=f"{best.explained:.1%}")
    sentence = f"{name!r} parts in {meta.stage}: {_WORDS[best.cause]}{_amount(best)}; {how}."
    first = comparison.feature(name).total.first
    return Diagnosis(
        name, meta.stage, best.cause, best.explained, best.basis, best.amount, first, found.as_likely, found.also, sentence
    )  # fmt: skip


def _amount(claim: Claim) -> str:
    return f" ({claim.amount})" if claim.amount else ""


def _said(served: SideMeta | None, offline: SideMeta | None) -> Iterator[Claim]:
    """What the two sides say differently about the feature."""
    if served is None or offline is None:
        return
    for name, cause in _SAID.items():
        one, other = getattr(served, name), getattr(offline, name)
        told = all(value not in ("", None) for value in (one, other))
        both_nan = one != one and other != other
        if told and one != other and not both_nan:
            yield Claim(cause, "metadata", 0.0, 1.0, f"{one} served, {other} recomputed")


def _with_rows(comparison: Comparison, evidence: Evidence, kept: Kept) -> Iterator[Claim]:
    """Causes that go together with the rows: copies, another feature set, a gap before them, a lag."""
    rows = comparison.rows

    def claim(cause: str, hit: Ints, amount: str = "") -> Iterator[Claim]:
        # ``hit`` are row numbers, or a mask over all rows of the comparison.
        explained = float(np.isin(kept.at, hit).mean())
        if explained:
            left_alone = float((~np.isin(kept.agreeing, hit)).mean()) if len(kept.agreeing) else 1.0
            yield Claim(cause, "rows", explained, left_alone, amount)

    lost = (rows.left == NONE) | (rows.right == NONE)
    yield from claim("duplicate", np.flatnonzero(lost & (rows.copy > 0)))
    yield from claim("version", rows.apart["feature_set"], "another feature set")
    if evidence.log is not None and evidence.log.gaps:
        first = min(start for start, _ in evidence.log.gaps)
        yield from claim("log_gap", np.flatnonzero(rows.offset > first), f"{len(evidence.log.gaps)} gaps from {first}")
    if evidence.lag is not None:
        yield from claim("replica_lag", _lagging(comparison, evidence.lag, kept), "lag above 0")


def _lagging(comparison: Comparison, lag: Mapping[str, int], kept: Kept) -> Ints:
    at = np.concatenate([kept.at, kept.agreeing])
    behind = [lag.get(comparison.rows.request_id(row), 0) > 0 for row in at.tolist()]
    return at[np.array(behind, bool)]


def _recomputed(comparison: Comparison, evidence: Evidence, failing: tuple[str, ...]) -> dict[str, list[Claim]]:
    """What each variant explains of each failing feature, from one recomputation of all their samples."""
    claims: dict[str, list[Claim]] = {name: [] for name in failing}
    samples = {name: _sample(comparison, comparison.kept[name]) for name in failing}
    usable = [one for sample in samples.values() for one in sample]
    at = np.unique(np.concatenate(usable)) if usable else np.empty(0, np.int64)
    if evidence.recompute is None or not len(at):
        return claims
    keys = comparison.rows.keys(at)
    states = [name + STATE for name in failing if name + STATE in comparison.served.schema.names]
    served = ValueTable(comparison.served.rows(comparison.rows.left[at], [*KEYS, *failing, *states]), "served")
    starts = {int(comparison.rows.offset[comparison.kept[name].at[0]]) for name in failing}
    tried = (*evidence.variants, *(Variant("stopped", start) for start in sorted(starts)))
    metas = [meta for meta in comparison.metas if meta.name in claims]
    for variant in tried:
        table = evidence.recompute(variant, keys)
        if table is None:
            continue
        got = ValueTable(table, f"recomputed ({variant})")
        for name, wrong in _still_wrong(served, got, metas).items():
            diverging, agreeing = (np.searchsorted(at, part) for part in samples[name])
            if len(diverging):
                kept = 1 - float(np.isin(agreeing, wrong).mean()) if len(agreeing) else 1.0
                explained = 1 - float(np.isin(diverging, wrong).mean())
                claims[name].append(Claim(variant.cause, "recomputed", explained, kept, str(variant)))
        whole = (any(one.explained == one.kept == 1.0 for one in found) for found in claims.values())
        if not evidence.thorough and all(whole):
            break
    return claims


def _sample(comparison: Comparison, kept: Kept) -> tuple[Ints, Ints]:
    """Rows to compute again: those served exactly once, spread over the offsets."""

    def spread(at: Ints) -> Ints:
        at = at[(comparison.rows.left[at] != NONE) & (comparison.rows.copy[at] == 0)]
        return at if len(at) <= SAMPLE else at[np.linspace(0, len(at) - 1, SAMPLE).astype(np.int64)]

    return spread(kept.at), spread(kept.agreeing)


def _still_wrong(served: ValueTable, got: ValueTable, metas: list[FeatureMeta]) -> dict[str, Ints]:
    """For each feature the variant has, the sample rows that are not equal to it."""
    own = [meta for meta in metas if meta.name in got.schema.names]
    rows = paired(served, got, [meta.name for meta in own])
    return {meta.name: rows.left[cells_of(meta, served, got, rows).diverging] for meta in own}
