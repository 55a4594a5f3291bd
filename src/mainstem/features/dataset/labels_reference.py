"""The same labels in plain Python, one outcome and one impression at a time: what ``labels.py`` has to agree with."""

from __future__ import annotations

from mainstem.features.dataset.label_rule import LabelRule
from mainstem.features.dataset.labels import Impressions, Outcomes

Touch = tuple[int, int, tuple[int, ...], int]
"""When, at which offset, with which key, and from which row."""


def reference_labels(
    impressions: Impressions, outcomes: Outcomes | None, rule: LabelRule, seen_until_ms: int
) -> tuple[list[int], list[int], dict[int, str]]:
    """Label and delay of every impression, and the fate of every outcome by its row.

    Args:
        seen_until_ms: As in ``join_labels``.
    """
    fates: dict[int, str] = {}
    touches, doubts = _own(impressions, rule) if outcomes is None else (_arrived(outcomes, rule, fates), [])
    credited, unsure = _credited(impressions, touches, rule, fates), _credited(impressions, doubts, rule, {})
    labels, delays = [], []
    for row in range(len(impressions)):
        over = int(impressions.time_ms[row]) + rule.window_ms - (not rule.last_ms_counts) < seen_until_ms
        if not _may_be_credited(impressions, rule, row):
            labels.append(-1)
        elif row in credited:
            labels.append(1)
        else:
            labels.append(0 if over and row not in unsure else -1)
        delays.append(credited.get(row, -1) if outcomes is not None else -1)
    return labels, delays, fates


def _credited(shown: Impressions, touches: list[Touch], rule: LabelRule, fates: dict[int, str]) -> dict[int, int]:
    first: dict[int, int] = {}
    for when, offset, key, touch in touches:
        before = [
            row
            for row in range(len(shown))
            if _may_be_credited(shown, rule, row)
            and _key(shown, rule, row) == key
            and (int(shown.time_ms[row]), int(shown.offset[row])) <= (when, offset)
        ]
        near = [row for row in before if _inside(when - int(shown.time_ms[row]), rule)]
        fates[touch] = "credited" if near else "too late" if before else "orphaned"
        if rule.join == "last_touch":
            latest = max(before, key=lambda row: (int(shown.time_ms[row]), int(shown.offset[row])), default=-1)
            near = [row for row in near if row == latest]
        for row in near:
            delay = when - int(shown.time_ms[row])
            first[row] = min(delay, first.get(row, delay))
    return first


def _arrived(outcomes: Outcomes, rule: LabelRule, fates: dict[int, str]) -> list[Touch]:
    touches: list[Touch] = []
    met: set[int] = set()
    for row in sorted(range(len(outcomes)), key=lambda at: int(outcomes.offset[at])):
        kind, when, key = int(outcomes.kind[row]), int(outcomes.time_ms[row]), _key(outcomes, rule, row)
        if int(outcomes.event_id[row]) in met:
            fates[row] = "duplicate"
        elif kind < 0 or outcomes.kinds[kind] not in rule.outcomes:
            fates[row] = "other kind"
        elif when < 0:
            fates[row] = "no time"
        elif min(key) < 0:
            fates[row] = "no key"
        else:
            touches.append((when, int(outcomes.offset[row]), key, row))
        met.add(int(outcomes.event_id[row]))
    return touches


def _own(shown: Impressions, rule: LabelRule) -> tuple[list[Touch], list[Touch]]:
    touches: list[Touch] = []
    doubts: list[Touch] = []
    for row in range(len(shown)):
        flags = [int(shown.outcomes[kind][row]) for kind in rule.outcomes]
        when, key = int(shown.time_ms[row]), _key(shown, rule, row)
        if when < 0 or min(key) < 0:
            continue
        if 1 in flags:
            touches.append((when, int(shown.offset[row]), key, row))
        elif -1 in flags:
            doubts.append((when, int(shown.offset[row]), key, row))
    return touches, doubts


def _may_be_credited(shown: Impressions, rule: LabelRule, row: int) -> bool:
    known = shown.time_ms[row] >= 0 and min(_key(shown, rule, row)) >= 0
    return bool(known and (rule.viewable == "served" or shown.viewed[row]))


def _inside(delay: int, rule: LabelRule) -> bool:
    return delay <= rule.window_ms if rule.last_ms_counts else delay < rule.window_ms


def _key(table: Impressions | Outcomes, rule: LabelRule, row: int) -> tuple[int, ...]:
    return tuple(int(table.keys[name][row]) for name in rule.by)
