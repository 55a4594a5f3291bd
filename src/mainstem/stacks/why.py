"""Why one viewer is, or is not, shown one item: read off the trace, and asked of the sources when no source offered it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mainstem.base.request import FIRST_RULE, KEPT, NOT_RANKED, Pool, Request, Slate, Trace, Unmet
from mainstem.control.shadow_price import value_of
from mainstem.stacks.run import score
from mainstem.stacks.stage import QUOTA, Source, Stack

Outcome = Literal["shown", "demoted", "filtered", "scored_too_low", "not_ranked", "not_retrieved", "unknown_item"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What one source thinks of the item.

    Args:
        rank: 1 is the source's best; None when it would not offer the item however many it might.
        limit: How many it may offer.
    """

    source: str
    offered: bool
    rank: int | None
    limit: int
    reason: str


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """What one rule did to the item and to the slate of this request.

    Args:
        effect: ``removed``, ``promoted`` or ``demoted`` when it fired on this item; empty when it did not.
        place_without: Where the item would stand were the rule off; None when it would not be shown.
        price: Value the slate gives up to the rule: the values of the slate without it minus those of the slate with it, the
            same draws of chance in both. Below 0 for a rule that happens to leave a slate of higher value.
    """

    rule: str
    effect: str
    place_without: int | None
    price: float


@dataclass(frozen=True, slots=True)
class Why:
    """The fate of one item in one request.

    Args:
        position: 1 is the top of the slate; None when it is not on it.
        value_rank: 1 is the highest value of all candidates; None when the item was not scored as a candidate.
        value: Its value; for an item no source offered, the value it would have had.
        cutoff: The lowest value on the slate that chance did not put there.
        rule: The rule that removed or moved it.
        terms: What the value is the sum of, exactly: added up from left to right they are the value.
        rules: What each rule did, in the order in which they are applied; empty for an item no rule was asked about.
        unmet: What the slate could keep only as far as possible: quotas, spacing, its length.
        arm: The experiment arm the request is in.
    """

    item_id: int
    user_id: int
    surface: str
    now_ms: int
    outcome: Outcome
    sentence: str
    position: int | None = None
    value_rank: int | None = None
    value: float | None = None
    cutoff: float | None = None
    rule: str | None = None
    predictions: dict[str, float] | None = None
    terms: dict[str, float] | None = None
    features: dict[str, float] | None = None
    offers: tuple[Offer, ...] = ()
    rules: tuple[RuleEffect, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    arm: str = ""
    degraded: tuple[str, ...] = ()


def why(stack: Stack, slate: Slate, request: Request, item_id: int) -> Why:
    """The fate of this item in this request.

    Args:
        stack: What answered, without memories: asking must not change anything.
        slate: Its answer to the request, with a trace that has terms.
    """
    trace = slate.trace
    if trace is None:
        raise ValueError("an explanation needs a slate with its trace")
    found = np.flatnonzero(trace.item_ids == item_id)
    if len(found):
        return _of_candidate(stack, slate, trace, request, item_id, int(found[0]))
    known = bool(stack.catalog.item_rows(np.array([item_id], np.int64))[0] >= 0)
    base = _base(slate, request, item_id)
    if not known:
        return replace(base, outcome="unknown_item", sentence="The catalog does not hold this item.")
    if _withdrawn(stack, item_id):
        return replace(
            base, outcome="filtered", rule="withdrawn", sentence="Withdrawn: nobody is shown it until it is put back."
        )
    return _never_retrieved(stack, base, slate, trace, request)


def _withdrawn(stack: Stack, item_id: int) -> bool:
    """Whether it was taken out while serving: its sources no longer offer it, so no rule saw it."""
    return stack.withdrawn is not None and bool(
        stack.withdrawn.mask[stack.catalog.item_rows(np.array([item_id], np.int64))[0]]
    )


def _base(slate: Slate, request: Request, item_id: int) -> Why:
    unmet = () if slate.trace is None else slate.trace.unmet
    return Why(
        item_id,
        request.user_id,
        request.surface,
        request.now_ms,
        "not_retrieved",
        "",
        degraded=slate.degraded,
        unmet=unmet,
    )


def _of_candidate(stack: Stack, slate: Slate, trace: Trace, request: Request, item_id: int, at: int) -> Why:
    """An item that was retrieved: the trace holds everything."""
    scored = at < len(trace.values)
    known = replace(
        _base(slate, request, item_id),
        value=float(trace.values[at]) if scored else None,
        value_rank=1 + int((trace.values > trace.values[at]).sum()) if scored else None,
        cutoff=_cutoff(slate, trace),
        predictions=_row(trace.heads, trace.predictions, at) if scored else None,
        terms={name: float(term[at]) for name, term in trace.terms.items()} if scored else None,
        features=_row(trace.feature_names, trace.features, at) if scored else None,
        offers=_offers_seen(stack, trace, request, at),
        rules=rule_effects(stack, trace, request, at) if scored else (),
    )
    return _judged(known, slate, trace, at)


def rule_effects(stack: Stack, trace: Trace, request: Request, at: int) -> tuple[RuleEffect, ...]:
    """What each rule did to one candidate and what it costs the slate: selected again with the rule off, nothing else changed."""
    n = len(trace.values)
    rows = stack.catalog.item_rows(trace.item_ids[:n])
    pool = Pool(rows, trace.source_mask[:n], np.zeros(n))
    user = stack.features.user(request)
    shown = stack.control.select(request, user, pool, trace.values)
    worth = value_of(trace.values, shown.order)
    fired = {rule: effect for rule, position, effect in shown.fired if position == at}
    effects = []
    parts = getattr(stack.control, "parts", None)  # a layer that tells each of several quotas apart
    for rule in stack.control.rules if parts is None else parts(request.surface):
        other = stack.control.without(rule).select(request, user, pool, trace.values)
        place = np.flatnonzero(other.order == at)
        price = value_of(trace.values, other.order) - worth
        effects.append(
            RuleEffect(rule, fired.get(rule.partition(":")[0], ""), 1 + int(place[0]) if len(place) else None, price)
        )
    return tuple(effects)


def _judged(known: Why, slate: Slate, trace: Trace, at: int) -> Why:
    """The outcome and its sentence."""
    code = int(trace.removed_by[at])
    moved = next((rule for rule, position, effect in trace.fired if position == at and effect != "removed"), None)
    if code == KEPT:
        place = 1 + int(np.flatnonzero(slate.item_ids == known.item_id)[0])
        by = f", moved by {moved}" if moved else ""
        sentence = f"Shown at position {place}; its value is number {known.value_rank} of all candidates{by}."
        return replace(known, outcome="shown", position=place, rule=moved, sentence=sentence)
    if code >= FIRST_RULE:
        rule = trace.rules[code - FIRST_RULE]
        return replace(known, outcome="filtered", rule=rule, sentence=f"Removed by the rule {rule}.")
    if code == NOT_RANKED:
        return replace(
            known,
            outcome="not_ranked",
            sentence=f"Retrieved as number {at + 1}; the ranker scored the first {len(trace.values)} only.",
        )
    return _too_low(known)


def _too_low(known: Why) -> Why:
    value, cutoff = known.value, known.cutoff
    if value is None or cutoff is None:
        return replace(known, outcome="scored_too_low", sentence="Others had a higher value.")
    if value >= cutoff:
        return replace(
            known,
            outcome="demoted",
            sentence=f"Its value {value:.4g} reaches the slate's lowest, {cutoff:.4g}, but variety, a quota or "
            "exploration gave the place to another item.",
        )
    return replace(
        known,
        outcome="scored_too_low",
        sentence=f"Its value {value:.4g} is {cutoff - value:.4g} below the slate's lowest, {cutoff:.4g}.",
    )


def _cutoff(slate: Slate, trace: Trace) -> float | None:
    """The lowest value on the slate that no rule lifted there."""
    if not len(slate.item_ids):
        return None
    lifted = {position for rule, position, effect in trace.fired if effect == "promoted" and rule != "variety"}
    kept = [at for at in np.flatnonzero(trace.removed_by[: len(trace.values)] == KEPT).tolist() if at not in lifted]
    return float(trace.values[kept].min()) if kept else None


def _row(names: tuple[str, ...], matrix: Any, at: int) -> dict[str, float] | None:
    return None if matrix is None else dict(zip(names, matrix[at].tolist(), strict=False))


def _limit(stack: Stack, request: Request, source: str) -> int:
    return stack.quotas.get(request.surface, {}).get(source, QUOTA)


def _offers_seen(stack: Stack, trace: Trace, request: Request, at: int) -> tuple[Offer, ...]:
    offered = trace.sources_of(at)
    return tuple(
        Offer(
            name,
            name in offered,
            None,
            _limit(stack, request, name),
            "offered it" if name in offered else "did not offer it",
        )
        for name in trace.sources
    )


def _never_retrieved(stack: Stack, base: Why, slate: Slate, trace: Trace, request: Request) -> Why:
    """Each source is asked again without a bound; the ranker says what the item would have been worth."""
    user = stack.features.user(request)
    row = int(stack.catalog.item_rows(np.array([base.item_id], np.int64))[0])
    offers = tuple(_unbounded(stack, source, request, user, row) for source in stack.sources)
    asked = request.item_ids is not None
    nearest = min((offer for offer in offers if offer.rank), key=lambda offer: offer.rank or 0, default=None)
    if asked:
        sentence = "The request named the items to rank, and this is not one of them."
    elif nearest is None:
        sentence = "No source offers it to this viewer, however many items it might offer."
    else:
        sentence = (
            f"No source offered it: {nearest.source} has it as number {nearest.rank} and may offer {nearest.limit}."
        )
    return replace(
        base, sentence=sentence, offers=offers, cutoff=_cutoff(slate, trace), **_would_be(stack, base, request)
    )


def _unbounded(stack: Stack, source: Source, request: Request, user: Any, row: int) -> Offer:
    limit = _limit(stack, request, source.name)
    try:
        found = source.retrieve(request, user, len(stack.catalog.items.ids))
    except Exception as error:
        return Offer(source.name, False, None, limit, f"failed: {type(error).__name__}: {error}"[:200])
    at = np.flatnonzero(found.rows == row)
    if len(at):
        rank = 1 + int(at[0])
        reason = "beyond its bound" if rank > limit else "offered it, but the union had no room"
        return Offer(source.name, False, rank, limit, reason)
    return Offer(
        source.name, False, None, limit, "offers nothing to this viewer" if not len(found.rows) else "does not hold it"
    )


def _would_be(stack: Stack, base: Why, request: Request) -> dict[str, Any]:
    """The value the item would have had, when the ranker works."""
    try:
        values, predictions = score(stack, replace(request, item_ids=np.array([base.item_id], np.int64)))
    except Exception:
        return {}
    return {"value": float(values[0]), "predictions": _row(stack.ranker.heads, predictions, 0)}
