"""Is a training set what was written, and does it keep its contract: answered without holding more than a column of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.breach import Breach
from mainstem.features.dataset.build import CONTRACT
from mainstem.features.dataset.contract_rules import column_rules, table_rules
from mainstem.features.dataset.dataset import Dataset, open_dataset
from mainstem.features.dataset.odcs import Contract, read_contract
from mainstem.features.dataset.record import FILE_NAME, DatasetRecord

_TABLE_COLUMN: Final = "offset"
"""The only column that rules of the whole table read."""


@dataclass(frozen=True, slots=True)
class SetVerdict:
    """What was found.

    Attributes:
        rules: How many rules of the contract were looked at.
        faults: What is wrong, in words; nothing when the set is whole.
    """

    sha256: str
    rows: int
    rules: int
    faults: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether it may be learned from."""
        return not self.faults


def check_dataset(folder: Path) -> SetVerdict:
    """Every byte, every value and every rule of a training set.

    Raises:
        FeatureError: There is no training set in the folder (``feature-088``).
    """
    if not (folder / FILE_NAME).is_file():
        raise FeatureError(
            f"found no training set in {folder}: it has no {FILE_NAME}",
            code="feature-088",
            hint="`mainstem dataset build` makes one",
        )
    try:
        dataset = open_dataset(folder, verify="values")
        contract = read_contract(folder / CONTRACT)
        looked, broken = _breaches(dataset, contract)
    except FeatureError as error:
        return SetVerdict("", 0, 0, (f"{error.code}: {error.message}",))
    faults = [f"feature-091: {one}" for one in broken]
    wanted = f"urn:mainstem:dataset:{dataset.record.sha256}"
    if contract.id != wanted:
        faults.insert(0, f"feature-089: the contract beside the rows is that of {contract.id}, expected {wanted}")
    return SetVerdict(dataset.record.sha256, dataset.record.rows, looked, tuple(faults))


def _breaches(dataset: Dataset, contract: Contract) -> tuple[int, list[Breach]]:
    table = contract.table("rows")
    rows, names, found = dataset.lazy(), dataset.lazy().collect_schema().names(), []
    for one in table.properties:
        found += column_rules(rows.select([n for n in (one.name,) if n in names]).collect(), one)
    found += table_rules(rows.select(_TABLE_COLUMN).collect(), table)
    return len(found), [one for one in found if one is not None]


def described(record: DatasetRecord) -> dict[str, Any]:
    """A training set in plain values: what it was made from, its parts, what was left out and why."""
    return {
        "name": record.name,
        "sha256": record.sha256,
        "rows": record.rows,
        "rows_removed": record.rows_removed,
        "log": {"name": record.log.name, "sha256": record.log.sha256, "made": record.log.made},
        "offsets": [record.log.first_offset, record.log.last_offset],
        "features_version": record.features_version,
        "definitions": len(record.definitions),
        "inputs": record.inputs,
        "columns": {role: len(record.names(role)) for role in ("row", "context", "feature", "label", "delay")},
        "feedback_delay_ms": record.feedback_delay_ms,
        "parts": part_rows(record),
        "removed": removed_rows(record),
    }


def part_rows(record: DatasetRecord) -> list[dict[str, Any]]:
    """One row a part and rule: rows that have a label, and how many are a success."""
    return [
        {
            "part": part.name,
            "rows": part.rows,
            "label": rule.name,
            "window": f"{rule.window_ms / 60_000:g} min {rule.join}" if rule.window_ms > 1 else "on the row",
            "positives": part.positives.get(rule.name, 0),
            "negatives": part.negatives.get(rule.name, 0),
        }
        for part in record.parts
        for rule in record.rules
    ]


def removed_rows(record: DatasetRecord) -> list[dict[str, Any]]:
    """One row a rule, part and reason: labels that were not taken, and what they would have said."""
    return [
        {
            "label": one.rule,
            "part": one.part,
            "why": one.reason,
            "positives": one.positives,
            "negatives": one.negatives,
            "unknown": one.unknown,
        }
        for one in record.removed
    ]
