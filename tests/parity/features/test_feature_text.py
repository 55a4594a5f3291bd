from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from small_log import METAS, How, SmallLog
from test_feature_drift import logged, rows_of
from value_tables import table, with_column

from mainstem.parity.features.cause import name_causes
from mainstem.parity.features.compare import compare
from mainstem.parity.features.drift import drift
from mainstem.parity.features.evidence import Evidence, SideMeta
from mainstem.parity.features.meta import FeatureMeta
from mainstem.parity.features.text import WIDTH, drift_text, report_lines, report_text


def test_the_verdict_comes_first_then_what_fails() -> None:
    log = SmallLog(1)
    found = compare(log.table(How(truncated=True, scale=1_000)), log.table(How()), METAS)
    lines = report_lines(found.report, name_causes(found, Evidence()))
    assert lines[0].startswith("Refused: 2 of 6 features part from the log on")
    text = "\n".join(lines)
    places = [text.index(f"\n{name}") for name in ("vector", "watch_s", "count_1d", "hour")]
    assert places == sorted(places)
    for said in ("cause: unit.", "cause: truncated_embedding.", "times 1000", "on 2 of 2 days, first 2024-10-"):
        assert said in text.replace("\n      ", " ")
    assert max(map(len, lines)) <= WIDTH


def test_all_equal_is_one_sentence_and_a_table() -> None:
    log = SmallLog(1)
    text = report_text(compare(log.table(How()), log.table(How()), METAS).report)
    assert text.startswith("Passed: 6 features agree on 1,800 cells in every bit.\n300 rows on both sides.\n")
    assert "cause" not in text


def test_one_bad_cell_of_many_is_not_rounded_to_all() -> None:
    values = np.zeros(3_000_000)
    good = table(3_000_000, {"f": values})
    bad = with_column(good, "f", np.where(np.arange(3_000_000) == 7, 1.0, values))
    assert "<100.0000%" in report_text(compare(bad, good, [FeatureMeta("f")]).report)


@settings(max_examples=30)
@given(
    name=st.text("abcdefgh_", min_size=1, max_size=80),
    window=st.text("0123456789d", max_size=30),
    request=st.text(min_size=1, max_size=120),
    value=st.floats(),
)
def test_no_line_is_wider_than_the_terminal(name: str, window: str, request: str, value: float) -> None:
    one = with_column(table(3, {name: [value, value, 2.0]}), "request_id", pa.array([request] * 3))
    other = with_column(table(3, {name: [1.0, 1.0, 1.0]}), "request_id", pa.array([request] * 3))
    found = compare(one, other, [FeatureMeta(name, window)], day_of=lambda time_ms: time_ms * 0 + 2**40)
    evidence = Evidence({name: SideMeta("a" * 64)}, {name: SideMeta("b" * 64)})
    lines = report_lines(found.report, name_causes(found, evidence))
    assert max(map(len, lines)) <= WIDTH


def test_alarms_are_listed_after_the_verdict() -> None:
    rng = np.random.default_rng(3)
    parts = [rows_of(rng, 400) for _ in range(3)]
    quiet = drift_text(drift(logged(parts), [FeatureMeta("price")], reference=(0, 1)))
    assert quiet == "No alarm: 1 feature on 1 day as in the reference.\n"
    parts[2]["price"] = np.full(400, np.nan)
    lines = drift_text(drift(logged(parts), [FeatureMeta("price")], reference=(0, 1))).splitlines()
    assert lines[0].startswith("2 alarms on 1 name over 1 day; strongest: ")
    assert sum(line.startswith("  1970-01-03 'price'") for line in lines) == 2
    assert max(map(len, lines)) <= WIDTH
