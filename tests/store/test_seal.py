from __future__ import annotations

from pathlib import Path

import pytest

from mainstem.base.errors import StoreError
from mainstem.store.event_log import Ack, EventLog
from mainstem.store.seal import check_segments, read_from, read_segments, seal

POINTS = ("segment written", "segment named", "manifest written", "manifest named", "rows deleted")


class StoppedError(Exception):
    """Stands for a kill at a fault point."""


def record(n: int) -> bytes:
    return b'{"request_id":%d,"item_id":1}' % n


def numbers(path: Path, folder: Path, after: int = 0, limit: int = 1_000) -> list[bytes]:
    return [row.payload for row in read_from(path, folder, after, limit)]


def test_sealed_events_leave_the_log_and_are_read_in_order_with_the_rest(tmp_path: Path) -> None:
    path, folder = tmp_path / "e.db", tmp_path / "sealed"
    with EventLog(path) as log:
        log.append([record(n) for n in range(10)])
        assert [s.rows for s in seal(path, folder, keep_last=3, segment_rows=5)] == [5, 2]
        assert [row.offset for row in log.read(7)] == [8, 9, 10]
        assert log.append([record(10), record(0)]) == Ack(1, 1, 11)
    assert numbers(path, folder) == [record(n) for n in range(11)]
    assert numbers(path, folder, after=4, limit=4) == [record(n) for n in range(4, 8)]
    assert numbers(path, folder, after=9) == [record(9), record(10)]
    assert check_segments(folder) == 7


def test_reading_sealed_events_from_the_log_alone_is_refused_not_skipped(tmp_path: Path) -> None:
    path, folder = tmp_path / "e.db", tmp_path / "sealed"
    with EventLog(path) as log:
        log.append([record(n) for n in range(4)])
        seal(path, folder, keep_last=1)
        with pytest.raises(StoreError) as caught:
            log.read(0)
        assert caught.value.code == "store-008"
        seal(path, folder)
        with pytest.raises(StoreError):
            log.read(0)
        assert log.read(4) == []


@pytest.mark.parametrize("point", POINTS)
def test_stopped_at_any_point_a_second_run_loses_nothing_and_repeats_nothing(tmp_path: Path, point: str) -> None:
    path, folder = tmp_path / "e.db", tmp_path / "sealed"

    def stop(at: str) -> None:
        if at == point:
            raise StoppedError

    with EventLog(path) as log:
        log.append([record(n) for n in range(10)])
        with pytest.raises(StoppedError):
            seal(path, folder, segment_rows=4, fault=stop)
        assert numbers(path, folder) == [record(n) for n in range(10)]
        log.append([record(10)])
        # Other segments than the first run's, so that a file it left behind has another name.
        seal(path, folder, segment_rows=5)
        assert numbers(path, folder) == [record(n) for n in range(11)]
        assert log.read(11) == []
    named = {segment.file for segment in read_segments(folder)} | {"segments.json"}
    assert {file.name for file in folder.iterdir()} == named
    assert check_segments(folder) == 11


def test_offsets_go_on_after_everything_was_sealed_and_the_log_opened_again(tmp_path: Path) -> None:
    path, folder = tmp_path / "e.db", tmp_path / "sealed"
    with EventLog(path) as log:
        log.append([record(n) for n in range(3)])
    seal(path, folder)
    with EventLog(path) as log:
        assert log.append([record(1), record(7)]) == Ack(1, 1, 4)
    assert numbers(path, folder) == [record(0), record(1), record(2), record(7)]


def test_a_changed_or_missing_segment_is_named(tmp_path: Path) -> None:
    path, folder = tmp_path / "e.db", tmp_path / "sealed"
    with EventLog(path) as log:
        log.append([record(1)])
    segment = seal(path, folder)[0]
    (folder / segment.file).write_bytes(b"cut")
    with pytest.raises(StoreError) as caught:
        check_segments(folder)
    assert caught.value.code == "store-007"
    assert segment.file in caught.value.message


def test_a_segment_manifest_that_is_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segments.json").write_text('[{"file":')
    with pytest.raises(StoreError) as caught:
        read_segments(tmp_path)
    assert caught.value.code == "store-007"
