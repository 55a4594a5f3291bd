"""What may be written into the ledger after what: the states of a claim, and who may count what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import msgspec

from mainstem.base.errors import CapacityError
from mainstem.capacity.savings import Baseline, Saving, saving

STATES: Final = ("idea", "forecast", "committed", "in flight", "delivered", "verified")
"""A claim goes from one to the next; only the last counts."""
NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "idea": ("title", "scope"),
    "forecast": ("p50", "p80", "unit"),
    "committed": ("owner", "due", "unit", "amount", "baseline"),
    "in flight": ("launch",),
    "delivered": ("measured", "dual", "migration", "unit", "amount", "weeks", "source"),
    "verified": ("receipt", "units", "unit", "weeks"),
    "rebaseline": ("change", "approved_by", "baseline", "reason"),
    "correction": ("of", "amount", "reason"),
    "receipt void": ("receipt", "reason"),
    "withdrawn": ("reason",),
}
"""Kinds of entries and what each must say."""
_CLOSE = 1e-6


@dataclass(slots=True)
class Claim:
    """One saving on its way.

    Args:
        name: Its id.
        state: The last of `STATES` it reached, or ``withdrawn``.
        scope: What it saves on; no two open claims have one scope.
        owner: Who committed it.
        unit: The unit it was committed in.
        promised: Units a week committed.
        baseline: What it is measured against.
        delivered: Units a week as measured and corrected.
        delivered_by: Who measured it.
        receipt: The receipt of the capacity given back.
        verified: Units a week that count.
    """

    name: str
    state: str = "idea"
    scope: str = ""
    owner: str = ""
    unit: str = ""
    promised: float = 0.0
    baseline: Baseline | None = None
    delivered: float = 0.0
    delivered_by: str = ""
    receipt: str = ""
    verified: float = 0.0
    weeks: tuple[str, str] = ("", "")
    saving: Saving | None = None


@dataclass(slots=True)
class Book:
    """Every claim after the entries so far.

    Args:
        claims: By id.
        receipts: Receipt to the claim that used it.
        last: The date of the last entry.
        measured_at: Sequence number of a delivery to its claim.
    """

    claims: dict[str, Claim] = field(default_factory=lambda: dict[str, Claim]())
    receipts: dict[str, str] = field(default_factory=lambda: dict[str, str]())
    last: date | None = None
    measured_at: dict[int, str] = field(default_factory=lambda: dict[int, str]())

    @property
    def verified(self) -> dict[str, float]:
        """What counts, by unit."""
        return self._sums("verified")

    @property
    def promised(self) -> dict[str, float]:
        """What was committed and not withdrawn, by unit."""
        return self._sums("promised")

    def _sums(self, what: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for claim in self.claims.values():
            if claim.unit and claim.state != "withdrawn":
                found[claim.unit] = found.get(claim.unit, 0.0) + getattr(claim, what)
        return found

    def take(self, seq: int, day: str, kind: str, name: str, by: str, body: Mapping[str, Any]) -> None:
        """Takes one entry, or refuses it and stays as it was.

        Raises:
            CapacityError: ``capacity-034`` for a malformed entry, ``capacity-035`` for a state out of turn,
                ``capacity-036`` for a second claim on one saving or receipt, ``capacity-037`` for a baseline that is not
                the committed one, ``capacity-038`` for mixed units, ``capacity-039`` for an amount its evidence does not
                carry, ``capacity-040`` for a missing second person.
        """
        try:
            self._take(seq, day, kind, name, by, body)
        except (TypeError, ValueError, KeyError, AttributeError) as no:
            raise _refuse(
                "capacity-034", f"{kind} of {name!r} with a value of the wrong kind: {no}", "see the guide"
            ) from no

    def _take(self, seq: int, day: str, kind: str, name: str, by: str, body: Mapping[str, Any]) -> None:
        when = _checked(day, kind, name, by, body)
        if self.last is not None and when < self.last:
            raise _refuse(
                "capacity-034",
                f"{kind} of {name} dated {day}, before {self.last}",
                "entries are in order of their dates",
            )
        claim = self._in_turn(kind, name)
        match kind:
            case "idea":
                self._idea(name, body)
            case "forecast":
                _forecast(claim, body)
            case "committed":
                _commit(claim, by, body)
            case "delivered":
                _deliver(claim, by, body)
                self.measured_at[seq] = name
            case "verified":
                self._verify(claim, by, body)
            case "rebaseline":
                _rebaseline(claim, by, body)
            case "correction":
                self._correct(claim, body)
            case "receipt void":
                self._void(claim, body)
            case _:
                pass
        if kind in STATES and kind != "idea":
            claim.state = kind
        elif kind == "withdrawn":
            claim.state, claim.verified = "withdrawn", 0.0
        self.last = when

    def _in_turn(self, kind: str, name: str) -> Claim:
        claim = self.claims.get(name)
        if kind == "idea":
            if claim is not None:
                raise _refuse("capacity-036", f"a second idea {name!r}", "corrections are entries of their own")
            return Claim(name)
        if claim is None:
            raise _refuse("capacity-035", f"{kind} of {name!r}, of which there is no idea", "write its idea first")
        if claim.state == "withdrawn":
            raise _refuse("capacity-035", f"{kind} of {name!r}, which is withdrawn", "start a new claim")
        if kind in STATES and STATES.index(kind) != STATES.index(claim.state) + 1:
            raise _refuse(
                "capacity-035", f"{kind} of {name!r}, which is {claim.state}", f"the order is {', '.join(STATES)}"
            )
        if kind in ("rebaseline", "correction", "receipt void") and STATES.index(claim.state) < 2:
            raise _refuse("capacity-035", f"{kind} of {name!r}, which is {claim.state}", "nothing was committed yet")
        return claim

    def _idea(self, name: str, body: Mapping[str, Any]) -> None:
        for other in self.claims.values():
            if other.scope == body["scope"] and other.state != "withdrawn":
                raise _refuse(
                    "capacity-036",
                    f"{name!r} on {body['scope']!r}, which {other.name!r} claims",
                    "one saving has one claim",
                )
        self.claims[name] = Claim(name, scope=str(body["scope"]))

    def _verify(self, claim: Claim, by: str, body: Mapping[str, Any]) -> None:
        if by in (claim.owner, claim.delivered_by):
            raise _refuse(
                "capacity-040", f"{by} verifying {claim.name!r}, which is their own", "a second person verifies"
            )
        _same_unit(claim, body)
        receipt = body["receipt"]
        if not isinstance(receipt, Mapping) or not receipt.get("id") or receipt.get("kind") != "reclaimed":
            raise _refuse(
                "capacity-039",
                f"receipt {receipt!r} of {claim.name!r}, no capacity given back",
                "a purchase or a promise is no reclaim",
            )
        number = str(receipt["id"])
        if number in self.receipts:
            raise _refuse(
                "capacity-036", f"receipt {number}, which {self.receipts[number]!r} used", "one pool unit has one claim"
            )
        back = receipt.get("units")
        if isinstance(back, bool) or not isinstance(back, int | float):
            raise _refuse("capacity-034", f"units {back!r} in receipt {number}", "give a number")
        units = float(body["units"])
        if abs(units - claim.delivered) > _CLOSE * max(1.0, abs(claim.delivered)) or back < units * (1.0 - _CLOSE):
            raise _refuse(
                "capacity-039",
                f"{units:g} verified of {claim.name!r}, with {claim.delivered:g} measured and {back:g} given back",
                "what was not given back is not saved",
            )
        if tuple(body["weeks"]) != claim.weeks:
            raise _refuse(
                "capacity-039",
                f"weeks {body['weeks']} of {claim.name!r}, not {claim.weeks}",
                "verify what was measured",
            )
        claim.receipt, claim.verified = number, units
        self.receipts[number] = claim.name

    def _correct(self, claim: Claim, body: Mapping[str, Any]) -> None:
        if self.measured_at.get(int(body["of"])) != claim.name or not body["reason"]:
            raise _refuse(
                "capacity-034",
                f"a correction of entry {body['of']} for {claim.name!r}",
                "name its delivery and a reason",
            )
        amount = float(body["amount"])
        if amount > claim.delivered:
            raise _refuse(
                "capacity-039",
                f"a correction of {claim.name!r} up from {claim.delivered:g} to {amount:g}",
                "measure and deliver again",
            )
        claim.delivered = amount
        claim.verified = min(claim.verified, amount)

    def _void(self, claim: Claim, body: Mapping[str, Any]) -> None:
        if body["receipt"] != claim.receipt or not claim.receipt:
            raise _refuse(
                "capacity-034", f"receipt {body['receipt']} void, not {claim.name!r}'s", "name the claim's own receipt"
            )
        claim.state, claim.verified, claim.receipt = "delivered", 0.0, ""


def _checked(day: str, kind: str, name: str, by: str, body: Mapping[str, Any]) -> date:
    if kind not in NEEDED:
        raise _refuse("capacity-034", f"kind {kind!r}", f"kinds are {', '.join(NEEDED)}")
    missing = [key for key in NEEDED[kind] if body.get(key) is None or body.get(key) == ""]
    if missing or not name or not by:
        raise _refuse(
            "capacity-034",
            f"{kind} of {name!r} by {by!r} without {', '.join(missing) or 'a name'}",
            "nothing is guessed",
        )
    for key in ("p50", "p80", "amount", "dual", "migration", "units"):
        if key in NEEDED[kind] and (isinstance(body[key], bool) or not isinstance(body[key], int | float)):
            raise _refuse("capacity-034", f"{key} {body[key]!r} in {kind} of {name!r}", "give a number")
    try:
        return date.fromisoformat(day)
    except ValueError as no:
        raise _refuse("capacity-034", f"date {day!r}", "write 2026-11-22") from no


def _forecast(claim: Claim, body: Mapping[str, Any]) -> None:
    if not 0.0 <= float(body["p80"]) <= float(body["p50"]):
        raise _refuse(
            "capacity-034", f"P50 {body['p50']} and P80 {body['p80']} of {claim.name!r}", "P80 is reached in 80 of 100"
        )
    claim.unit = str(body["unit"])


def _commit(claim: Claim, by: str, body: Mapping[str, Any]) -> None:
    if str(body["owner"]) != by:
        raise _refuse("capacity-040", f"{by} committing for {body['owner']}", "an owner commits in person")
    _same_unit(claim, body)
    baseline = _baseline(claim, body["baseline"])
    if baseline.unit != claim.unit:
        raise _refuse(
            "capacity-038", f"a baseline in {baseline.unit} of {claim.name!r} in {claim.unit}", "one unit a claim"
        )
    claim.owner, claim.promised, claim.baseline = by, float(body["amount"]), baseline


def _baseline(claim: Claim, held: Any) -> Baseline:
    try:
        baseline = msgspec.convert(held["drivers"], Baseline)
        sha = held["sha256"]
    except (msgspec.ValidationError, KeyError, TypeError) as no:
        raise _refuse(
            "capacity-034", f"the baseline of {claim.name!r}: {no}", "give its drivers and their sha256"
        ) from no
    if sha != baseline.sha256:
        raise _refuse(
            "capacity-037",
            f"baseline {sha[:12]} of {claim.name!r}, its drivers hash to {baseline.sha256[:12]}",
            "it was edited",
        )
    return baseline


def _deliver(claim: Claim, by: str, body: Mapping[str, Any]) -> None:
    _same_unit(claim, body)
    if body.get("baseline_sha256") != (claim.baseline.sha256 if claim.baseline else None):
        raise _refuse(
            "capacity-037", f"{claim.name!r} measured against another baseline", "rebaseline by a change request"
        )
    assert claim.baseline is not None
    try:
        found = saving(
            claim.baseline, dict(body["measured"]), dual=float(body["dual"]), migration=float(body["migration"])
        )
    except (TypeError, ValueError) as no:
        raise _refuse(
            "capacity-034", f"measured drivers {body['measured']!r} of {claim.name!r}", "give numbers by name"
        ) from no
    if abs(float(body["amount"]) - found.net) > _CLOSE * max(1.0, abs(found.net)):
        raise _refuse(
            "capacity-039",
            f"{body['amount']:g} delivered of {claim.name!r}, its drivers prove {found.net:g} "
            f"(gross {found.gross:g}, demand does not count)",
            "deliver what was measured",
        )
    first, last = (str(day) for day in body["weeks"])
    if not first < last:
        raise _refuse("capacity-034", f"weeks {first} to {last} of {claim.name!r}", "the last comes after the first")
    claim.delivered, claim.delivered_by, claim.weeks, claim.saving = found.net, by, (first, last), found


def _rebaseline(claim: Claim, by: str, body: Mapping[str, Any]) -> None:
    if not body["change"] or body["approved_by"] in (by, claim.owner):
        raise _refuse(
            "capacity-040",
            f"a new baseline of {claim.name!r} approved by {body['approved_by']}",
            "a second person approves",
        )
    if STATES.index(claim.state) >= STATES.index("delivered"):
        raise _refuse(
            "capacity-037", f"a new baseline of {claim.name!r}, which is {claim.state}", "what is measured is measured"
        )
    baseline = _baseline(claim, body["baseline"])
    if baseline.unit != claim.unit:
        raise _refuse(
            "capacity-038", f"a baseline in {baseline.unit} of {claim.name!r} in {claim.unit}", "one unit a claim"
        )
    claim.baseline = baseline


def _same_unit(claim: Claim, body: Mapping[str, Any]) -> None:
    if body["unit"] != claim.unit:
        raise _refuse("capacity-038", f"{body['unit']} in a claim in {claim.unit} ({claim.name!r})", "one unit a claim")


def _refuse(code: str, found: str, hint: str) -> CapacityError:
    return CapacityError(f"found {found}", code=code, hint=hint)
