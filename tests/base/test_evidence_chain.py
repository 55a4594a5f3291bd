from __future__ import annotations

import hashlib
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainstem.base.errors import EvidenceError
from mainstem.base.evidence import Evidence, doubts_of, hash_of
from mainstem.base.evidence_chain import START, append_records, read_records

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def record(value: float = 1.0, about: str = "feed", kind: str = "parity", **more) -> Evidence:
    return Evidence(kind=kind, about=about, value=value, at=AT, **more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "evidence" / "records.jsonl"


def refused(file: Path, code: str) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        read_records(file)
    assert caught.value.code == code
    with pytest.raises(EvidenceError):
        append_records(file, [record()])
    return caught.value


def test_what_is_written_is_read_again_with_ids_and_a_head(file):
    assert read_records(file).records == ()
    assert read_records(file).head == START
    first = append_records(file, [record(), record(0.5, "pages", made=True, note='a "quoted" word, é\n')])
    then = append_records(file, [record(kind="slo", id="mine")])
    found = read_records(file)
    assert [one.id for one in found.records] == ["parity-1", "parity-2", "mine"]
    assert found.records == (*first.records, *then.records)
    assert found.head == then.head
    assert found.torn == 0
    assert read_records(file, first.head) == found


def test_an_id_is_given_once_and_a_value_is_a_number(file):
    append_records(file, [record(id="a")])
    before = file.read_bytes()
    for records, code in (
        ([record(), record(id="a")], "evidence-022"),
        ([record(id="b"), record(id="b")], "evidence-022"),
        ([record(float("nan"))], "evidence-023"),
        ([record(float("inf"))], "evidence-023"),
    ):
        with pytest.raises(EvidenceError) as caught:
            append_records(file, records)
        assert caught.value.code == code
        assert file.read_bytes() == before


@pytest.mark.parametrize("line", [0, 1, 2])
def test_every_edit_is_found_with_its_line(file, line):
    append_records(file, [record(0.25), record(0.5), record(0.75)])
    lines = file.read_bytes().splitlines(keepends=True)
    for changed in (
        [*lines[:line], lines[line].replace(b'"value":0.', b'"value":1.'), *lines[line + 1 :]],
        [*lines[:line], lines[line].replace(b'"kind"', b' "kind"'), *lines[line + 1 :]],
        [*lines[:line], b"nonsense\n", *lines[line + 1 :]],
    ):
        file.write_bytes(b"".join(changed))
        assert f":{line + 1} " in refused(file, "evidence-020").message


def test_lines_that_are_taken_away_moved_or_put_in_are_found(file):
    append_records(file, [record(0.25), record(0.5), record(0.75)])
    one, two, three = file.read_bytes().splitlines(keepends=True)
    for changed in (two + three, one + three, one + three + two, one + one + two + three, one + two + three + three):
        file.write_bytes(changed)
        refused(file, "evidence-020")
    for changed in (one + two, one, b""):
        file.write_bytes(changed)
        assert "cut off" in refused(file, "evidence-021").message
    file.unlink()
    refused(file, "evidence-021")


def test_a_line_forged_with_its_own_hash_does_not_carry_the_next_or_the_head(file):
    append_records(file, [record(0.25), record(0.5), record(0.75)])
    lines = file.read_bytes().splitlines()

    def forged(line: bytes) -> bytes:
        body = line[:-75].replace(b'"value":0.', b'"value":1.')
        return body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'

    file.write_bytes(b"\n".join([lines[0], forged(lines[1]), lines[2], b""]))
    assert ":3 does not follow" in refused(file, "evidence-020").message
    file.write_bytes(b"\n".join([*lines[:2], forged(lines[2]), b""]))
    refused(file, "evidence-021")


def test_a_head_that_was_kept_elsewhere_finds_a_file_that_was_written_anew(file):
    kept = append_records(file, [record(0.0), record(0.5)]).head
    for one in (file, file.with_suffix(".head")):
        one.unlink()
    append_records(file, [record(0.5)])
    assert read_records(file).records
    with pytest.raises(EvidenceError, match="once had"):
        read_records(file, kept)


def test_a_head_that_cannot_be_read_is_refused(file):
    append_records(file, [record()])
    file.with_suffix(".head").write_text("{")
    refused(file, "evidence-021")


def test_a_writer_killed_anywhere_costs_what_it_had_not_finished_and_nothing_vanishes(file):
    first = append_records(file, [record(0.25)])
    whole, head = file.read_bytes(), file.with_suffix(".head").read_bytes()
    append_records(file, [record(0.5)])
    line = file.read_bytes()[len(whole) :]
    for cut in range(1, len(line), 17):
        file.write_bytes(whole + line[:cut])
        file.with_suffix(".head").write_bytes(head)
        found = read_records(file)
        assert (found.records, found.head, found.torn) == (first.records, first.head, cut)
        done = append_records(file, [record(0.75)])
        assert done.mended == cut
        assert [one.value for one in read_records(file).records] == [0.25, 0.75]
        assert read_records(file).torn == 0
    assert line[:1] + b"\n" in file.with_suffix(".torn").read_bytes()
    # Killed between the line and the head beside it: the line was written.
    file.write_bytes(whole + line)
    file.with_suffix(".head").write_bytes(head)
    assert [one.value for one in read_records(file).records] == [0.25, 0.5]


def _write(file: Path, about: str, many: int) -> None:
    for at in range(many):
        append_records(file, [record(float(at), about), record(float(at), about, kind="slo")])


def test_writers_at_once_take_turns(file):
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_write, args=(file, name, 12)) for name in ("feed", "groups", "pages")]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert [one.exitcode for one in writers] == [0, 0, 0]
    found = read_records(file).records
    assert len(found) == 72
    assert len({one.id for one in found}) == 72
    for name in ("feed", "groups", "pages"):
        assert [one.value for one in found if one.about == name and one.kind == "slo"] == list(range(12))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_no_byte_can_be_changed_unseen(tmp_path_factory, at, byte):
    file = tmp_path_factory.mktemp("chain") / "records.jsonl"
    append_records(file, [record(0.25, note="äß"), record(0.5, "pages")])
    before = file.read_bytes()
    at %= len(before)
    if before[at] == byte:
        return
    file.write_bytes(before[:at] + bytes([byte]) + before[at + 1 :])
    with pytest.raises(EvidenceError):
        read_records(file)


def test_a_time_without_a_zone_is_no_time(file):
    told = msgspec.json.encode(msgspec.to_builtins(record()) | {"at": "2026-11-22T12:00:00"})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(told, type=Evidence)
    assert record().day.isoformat() == "2026-11-22"


def test_a_file_that_changed_is_in_doubt_and_one_that_only_grows_is_not(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(b"one\n")
    whole = record(id="whole", file="ledger.jsonl", sha256=hash_of(ledger))
    grows = record(id="grows", file="ledger.jsonl", sha256=hash_of(ledger, 4), file_bytes=4)
    told = [whole, grows, record(id="bare")]
    assert doubts_of(told, tmp_path) == {}
    ledger.write_bytes(b"one\ntwo\n")
    assert doubts_of(told, tmp_path) == {"whole": "ledger.jsonl changed since"}
    ledger.write_bytes(b"on")
    assert doubts_of(told, tmp_path).keys() == {"whole", "grows"}
    ledger.unlink()
    assert doubts_of(told, tmp_path)["grows"] == "ledger.jsonl is no longer there"
