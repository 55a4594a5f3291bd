"""A running server's own log: its requests computed again to the bit, and a log that was tampered with found out."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from served_world import made_workspace, served

from mainstem.data.log import read_log
from mainstem.data.records import decode_impression
from mainstem.store.seal import seal
from mainstem.workspace.feature_parity_again import Again, agreement
from mainstem.workspace.feature_parity_live import MOST, LiveLog, _Spread, live_section
from mainstem.workspace.feature_parity_results import Section
from mainstem.workspace.feature_parity_sections import (
    Platform,
    index_section,
    model_section,
    sections,
    slate_section,
    started,
)
from mainstem.workspace.layout import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Served, stopped, and served again."""
    workspace = made_workspace(tmp_path_factory.mktemp("served"))
    served(workspace, 1, 12)
    served(workspace, 100, 12)
    return workspace


@pytest.fixture
def place(once: Workspace, tmp_path: Path) -> Workspace:
    """A copy whose live log may be spoiled."""
    shutil.copytree(once.folder, tmp_path / "copy", copy_function=shutil.copy2)
    return Workspace.open(tmp_path / "copy", {})


@pytest.fixture(scope="module")
def platform(once: Workspace) -> Platform:
    return Platform.of(once, read_log(once.log), LiveLog.read(once), 20, 1)


def _again(workspace: Workspace, live: LiveLog) -> Again:
    from mainstem.ranking.model import load_statics

    statics = load_statics(workspace.unified_model)
    assert statics is not None
    return Again(workspace, read_log(workspace.log), live.feedback, statics)


def _section(workspace: Workspace) -> Section:
    live = LiveLog.read(workspace)
    return live_section(_again(workspace, live), live)


def _spoil(workspace: Workspace, statement: str, *values: object) -> None:
    with sqlite3.connect(workspace.live / "events.sqlite") as base:
        assert base.execute(statement, values).rowcount == 1
    base.close()


def _payloads(workspace: Workspace, kind: str) -> list[tuple[int, bytes]]:
    base = sqlite3.connect(workspace.live / "events.sqlite")
    rows = base.execute("SELECT offset, payload FROM events WHERE kind = ? ORDER BY offset", (kind,)).fetchall()
    base.close()
    return rows


def test_what_was_served_across_a_restart_is_computed_again_to_the_bit(place: Workspace) -> None:
    found = _section(place)
    assert found.ok is True
    assert found.measured["requests"] == 24
    assert found.measured["rows"] == 24 * 8
    assert found.measured["cells"] == found.measured["matched"] > 24 * 100
    assert found.measured["first_divergent_offset"] == -1
    as_of = [decode_impression(payload).as_of for _, payload in _payloads(place, "impression")]
    assert len(set(as_of)) == 24  # feedback came between any two


def test_sealed_records_count_as_well(place: Workspace) -> None:
    seal(place.live / "events.sqlite", place.live / "sealed", keep_last=30)
    found = _section(place)
    assert (found.ok, found.measured["requests"], found.measured["holes"]) == (True, 24, 0)


def test_a_deleted_outcome_is_found(place: Workspace) -> None:
    offset, _ = _payloads(place, "feedback")[7]
    _spoil(place, "DELETE FROM events WHERE offset = ?", offset)
    found = _section(place)
    assert found.ok is False
    assert found.measured["holes"] == 1
    assert found.measured["matched"] < found.measured["cells"]
    assert f"misses 1 records from number {offset} on (log gap)" in found.sentence
    assert "first parts request" in found.sentence


def test_a_deleted_last_outcome_leaves_a_request_that_saw_more_than_there_is(place: Workspace) -> None:
    newest = max(decode_impression(payload).as_of for _, payload in _payloads(place, "impression"))
    feedback = _payloads(place, "feedback")
    kept = newest - _again(place, LiveLog.read(place)).first_live
    for offset, _ in feedback[kept - 1 :]:
        _spoil(place, "DELETE FROM events WHERE offset = ?", offset)
    found = _section(place)
    assert found.ok is False
    assert found.measured["beyond"] == 1
    assert found.measured["first_divergent_offset"] == newest
    assert found.measured["matched"] == found.measured["cells"]


def test_a_changed_outcome_is_found_at_the_first_request_that_saw_it(place: Workspace) -> None:
    offset, payload = _payloads(place, "feedback")[5]
    changed = payload.replace(b'"long_view":0', b'"long_view":1')
    assert changed != payload
    _spoil(place, "UPDATE events SET payload = ? WHERE offset = ?", changed, offset)
    found = _section(place)
    live = LiveLog.read(place)
    first_live = _again(place, live).first_live
    assert found.ok is False
    assert found.measured["holes"] == 0
    # Its viewer asks again seven requests later; others may see it sooner through what they share.
    assert first_live + 5 < found.measured["first_divergent_offset"] <= first_live + 5 * 9


def test_one_changed_bit_of_what_was_served_is_found(place: Workspace) -> None:
    offset, payload = _payloads(place, "impression")[3]
    one = decode_impression(payload)
    numbers = one.array("features").copy()
    numbers.view(np.uint32)[1, 2] ^= 1
    changed = msgspec.structs.replace(one, features=numbers.tobytes())
    _spoil(place, "UPDATE events SET payload = ? WHERE offset = ?", changed.payload(), offset)
    found = _section(place)
    assert found.ok is False
    assert found.measured["cells"] - found.measured["matched"] == 1
    assert f"request {one.request_id} at offset {one.as_of:,}" in found.sentence
    assert f"of item {one.ids()[1]}" in found.sentence


def test_other_definitions_and_other_stacks_are_counted_apart(place: Workspace) -> None:
    (first, payload), (second, other) = _payloads(place, "impression")[:2]
    older = msgspec.structs.replace(decode_impression(payload), feature_set="older")
    silent = msgspec.structs.replace(decode_impression(other), as_of=-1)
    _spoil(place, "UPDATE events SET payload = ? WHERE offset = ?", older.payload(), first)
    _spoil(place, "UPDATE events SET payload = ? WHERE offset = ?", silent.payload(), second)
    found = _section(place)
    assert found.ok is True
    assert (found.measured["version"], found.measured["untold"], found.measured["requests"]) == (1, 1, 22)
    live = LiveLog.read(place)
    all_older = replace(live, impressions=(older,), told=1)
    assert live_section(_again(place, live), all_older).ok is None


def test_a_failed_lookup_is_compared_with_the_declared_defaults(place: Workspace) -> None:
    offset, payload = _payloads(place, "impression")[5]
    one = decode_impression(payload)
    marked = msgspec.structs.replace(one, degraded=("features: OSError: no answer",))
    _spoil(place, "UPDATE events SET payload = ? WHERE offset = ?", marked.payload(), offset)
    assert _section(place).ok is False  # it was served with the viewer's own features, not with the defaults


def test_requests_that_were_ranked_without_knowing_the_viewer_agree(platform: Platform) -> None:
    asked = tuple(replace(one, failures=frozenset(("features",))) for one in platform.asked)
    answers = replace(platform, asked=asked).served(platform.stack)
    marked = [msgspec.structs.replace(one, degraded=("features: OSError: no answer",)) for one in answers]
    again = _again(platform.workspace, platform.live)
    found = agreement(again, marked)
    assert found.cells == found.matched > 0
    unmarked = agreement(again, answers)
    assert unmarked.matched < unmarked.cells


def test_a_model_that_is_newer_than_the_log_is_no_refusal(place: Workspace) -> None:
    os.utime(place.unified_model / "model.npz", (4e9, 4e9))
    found = _section(place)
    assert found.ok is None
    assert "the model was trained after them" in found.sentence


def test_of_a_long_log_some_requests_are_kept_evenly() -> None:
    kept = _Spread()
    for number in range(5 * MOST):
        kept.add(number)  # type: ignore[arg-type]
    assert MOST <= len(kept.held) <= 2 * MOST
    assert kept.seen == 5 * MOST
    assert set(np.diff(np.array(kept.held)).tolist()) == {4}


def test_scores_nearest_items_and_slates_agree(platform: Platform) -> None:
    again = _again(platform.workspace, platform.live)
    answers = platform.served(platform.stack)
    model, index, slate = (
        model_section(platform, again, answers),
        index_section(platform),
        slate_section(platform, answers),
    )
    assert (model.ok, index.ok, slate.ok) == (True, True, True)
    assert model.measured["features_differing"] == 0
    assert model.measured["largest"] < model.measured["tolerance"]
    assert model.measured["torch_largest"] < model.measured["tolerance"]
    assert (index.measured["exact"], index.measured["source"]) == (1.0, 1.0)
    assert slate.measured == {"requests": 20, "differing_again": 0, "degraded": 0, "differing_restored": 0}


def test_a_model_that_is_not_the_one_served_is_found(platform: Platform) -> None:
    answers = platform.served(platform.stack)
    weights = dict(platform.model.weights)
    weights["head_b"] = weights["head_b"] + np.float32(1e-3)
    other = replace(platform, model=replace(platform.model, weights=weights))
    found = model_section(other, _again(platform.workspace, platform.live), answers)
    assert found.ok is False
    assert found.measured["largest"] > 1e-4


def test_a_slate_that_depends_on_more_than_its_request_is_found(platform: Platform) -> None:
    answers = platform.served(platform.stack)
    stack = started(platform.workspace, platform.log, platform.live)
    stack.apply(platform.live.feedback)  # every outcome once more: double counting
    assert slate_section(replace(platform, stack=stack), answers).ok is False


def test_without_a_model_nothing_is_made_and_it_says_why(tmp_path: Path) -> None:
    workspace = made_workspace(tmp_path, trained=False)
    found = sections(workspace, read_log(workspace.log), 10, 0)
    assert [one.ok for one in found] == [None] * 4
    assert all("mainstem train" in one.sentence for one in found)


def test_a_model_of_other_features_leaves_the_others_out(place: Workspace) -> None:
    card = place.unified_model / "model.json"
    card.write_text(card.read_text().replace('"signature": "', '"signature": "older-'))
    found = sections(place, read_log(place.log), 10, 0)
    assert [one.ok for one in found] == [True, None, None, None]


def test_a_search_that_misses_the_nearest_is_refused(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from mainstem.base.request import Found
    from mainstem.retrieval.learned_sources import ItemToItem

    true = ItemToItem.retrieve

    def without_the_best(self: ItemToItem, request: Any, user: Any, limit: int) -> Found:
        found = true(self, request, user, limit + 1)
        return Found(found.rows[1:], found.scores[1:])

    monkeypatch.setattr(ItemToItem, "retrieve", without_the_best)
    found = index_section(platform)
    assert found.ok is False
    assert found.measured["exact"] == 1.0
    assert found.measured["source"] == pytest.approx(0.99)
