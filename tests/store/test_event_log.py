from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from mainstem.base.errors import StoreError
from mainstem.store.event_log import Ack, EventLog
from mainstem.store.event_table import EventTable


def record(request_id: int, item_id: int = 1, **more: object) -> bytes:
    return json.dumps({"request_id": request_id, "item_id": item_id, **more}).encode()


def test_an_append_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db") as log:
        assert log.append([record(1), record(2)]) == Ack(accepted=2, duplicates=0, last_offset=2)
        other = EventTable(tmp_path / "e.db")
        assert [row.payload for row in other.read(0, 10)] == [record(1), record(2)]
        other.close()


def test_the_same_event_changes_nothing_within_a_batch_between_batches_and_after_opening_again(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db") as log:
        assert log.append([record(1), record(1), record(1, 2)]) == Ack(2, 1, 2)
        assert log.append([record(1, click=1)]) == Ack(0, 1, 2)
        assert log.append([record(1, event_id="x"), record(9, event_id="x")]) == Ack(1, 1, 3)
    with EventLog(tmp_path / "e.db") as log:
        assert log.append([record(1)]) == Ack(0, 1, 3)
        assert log.append([record(1)], kind="other") == Ack(1, 0, 4)


def test_reading_goes_on_from_an_offset_and_can_ask_for_one_kind(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db") as log:
        log.append([record(n) for n in range(5)])
        log.append([record(9)], kind="other")
        assert [row.offset for row in log.read(2, 2)] == [3, 4]
        assert [row.offset for row in log.read(0, 10, "other")] == [6]
        assert log.read(6) == []


def test_bytes_that_are_no_record_refuse_the_batch_and_write_nothing(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db") as log:
        for bad in (b"{", b'{"request_id": "x", "item_id": 1}', b'{"item_id": 1}', b"NaN"):
            with pytest.raises(StoreError) as caught:
                log.append([record(1), bad])
            assert (caught.value.code, caught.value.status) == ("store-006", 400)
        assert log.read() == []


def test_a_full_queue_answers_429_at_once_and_loses_nothing_already_taken(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db", queue_records=10) as log:
        with pytest.raises(StoreError) as caught:
            log.append([record(n) for n in range(11)])
        assert (caught.value.code, caught.value.status) == ("store-001", 429)
        assert log.append([record(n) for n in range(10)]).accepted == 10
        assert log.stats().refused == 11


def test_a_full_disk_is_a_coded_error_with_nothing_half_written_and_room_again_mends_it(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db", max_pages=40) as log:
        assert log.append([record(0)]).accepted == 1
        batch = [record(n, pad="x" * 500) for n in range(1, 2_000)]
        with pytest.raises(StoreError) as caught:
            log.append(batch)
        assert (caught.value.code, caught.value.status) == ("store-002", 507)
        assert [row.payload for row in log.read(0, 10_000)] == [record(0)]
        assert log.append([record(1)]).accepted == 1
    with EventLog(tmp_path / "e.db") as log:
        assert log.append(batch) == Ack(len(batch) - 1, 1, len(batch) + 1)


def test_a_disk_that_refuses_bytes_gives_a_coded_error_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    script = f"""
        import resource
        from mainstem.base.errors import StoreError
        from mainstem.store.event_log import EventLog
        log = EventLog({str(tmp_path / "e.db")!r})
        log.append([b'{{"request_id":0,"item_id":1}}'])
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            log.append([b'{{"request_id":%d,"item_id":1,"pad":"%s"}}' % (n, b"x" * 500) for n in range(1, 2_000)])
        except StoreError as error:
            print(error.code, len(log.read(0, 10_000)))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert ran.stdout.split() in (["store-002", "1"], ["store-004", "1"]), ran.stderr
    with EventLog(tmp_path / "e.db") as log:
        assert len(log.read(0, 10_000)) == 1


def test_a_file_held_by_another_writer_is_a_coded_error(tmp_path: Path) -> None:
    holder = EventTable(tmp_path / "e.db")
    with EventLog(tmp_path / "e.db", busy_s=0.05) as log:
        with holder.transaction(), pytest.raises(StoreError) as caught:
            log.append([record(1)])
        assert caught.value.code == "store-003"
        assert log.append([record(1)]).accepted == 1
    holder.close()


def test_a_closed_log_refuses(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e.db")
    log.close()
    with pytest.raises(StoreError) as caught:
        log.append([record(1)])
    assert caught.value.code == "store-005"


def test_impressions_never_block_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db", lane_records=5) as log:
        holder = EventTable(tmp_path / "e.db")
        with holder.transaction():
            taken = [log.offer(b"shown") for _ in range(40)]
            waiting_or_in_hand = sum(taken)
        holder.close()
        log.flush()
        stats = log.stats()
        assert 5 <= waiting_or_in_hand <= 10
        assert stats.impressions_written == waiting_or_in_hand == len(log.read(0, 100, "impression"))
        assert stats.impressions_dropped == 40 - waiting_or_in_hand


def test_impressions_that_fill_the_disk_do_not_take_feedback_down_with_them(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db", max_pages=40) as log:
        log.offer(b"x" * 400_000)
        assert log.append([record(1)]).accepted == 1
        log.flush()
        assert log.stats().impressions_dropped == 1
        assert log.stats().impressions_written == 0


def test_many_writers_share_commits_and_every_event_is_there_once(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e.db") as log:

        def write(thread: int) -> None:
            for n in range(40):
                log.append([record(n, thread % 4)])

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = log.stats()
        assert (stats.accepted, stats.duplicates, stats.pending) == (160, 160, 0)
        assert len({row.payload for row in log.read(0, 1_000)}) == 160


def test_an_event_loop_can_wait_for_an_append_and_a_client_that_left_does_not_stop_the_writer(tmp_path: Path) -> None:
    async def ask(log: EventLog) -> Ack:
        gone = log.submit([record(1)])
        gone.cancel()
        return await asyncio.wrap_future(log.submit([record(2)]))

    with EventLog(tmp_path / "e.db") as log:
        assert asyncio.run(ask(log)).accepted == 1
        assert log.append([record(3)]).accepted == 1
