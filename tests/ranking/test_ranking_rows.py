"""Rows to learn from: the same bits in files as in memory, drawn in an order that a resumed run finds again, within bounds."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_log import Tables
from hypothesis import given
from hypothesis import strategies as st
from small_training import SMALL

from mainstem.base.errors import ModelError
from mainstem.ranking.lesson import Lesson, lesson
from mainstem.ranking.rows import SIDES, Moments, rows_in_files, rows_in_memory, shuffled
from mainstem.ranking.train import train

DAY = 20220429


@pytest.fixture(scope="module")
def on_disk(small: Tables, tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    folder = tmp_path_factory.mktemp("rows")
    # So little memory that the back-fill works in many buckets of files.
    return lesson(small.items, small.users, small.impressions, small.history, DAY, folder=folder, memory_bytes=1 << 20)


def test_files_hold_the_bits_of_memory(small_lesson: Lesson, on_disk: Lesson) -> None:
    for side in SIDES:
        one, two = getattr(small_lesson.values, side), getattr(on_disk.values, side)
        assert isinstance(two, np.memmap)
        np.testing.assert_array_equal(one, two)
        for mine, other in zip(small_lesson.rows.scales[side], on_disk.rows.scales[side], strict=True):
            np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(small_lesson.values.item_row, on_disk.values.item_row)
    np.testing.assert_array_equal(small_lesson.train, on_disk.train)


def test_what_is_learned_from_files_is_what_is_learned_from_memory(small_lesson: Lesson, on_disk: Lesson) -> None:
    settings = replace(SMALL, epochs=1)
    one, two = train(small_lesson, settings), train(on_disk, settings)
    for name, weight in one.weights.items():
        np.testing.assert_array_equal(weight, two.weights[name])
    assert one.calibration == two.calibration


def test_only_the_three_files_are_left(on_disk: Lesson) -> None:
    folder = on_disk.rows.folder
    assert folder is not None
    assert sorted(path.name for path in folder.iterdir()) == ["cross.npy", "item.npy", "user.npy"]


def test_some_rows_come_back_in_the_order_asked(small_lesson: Lesson, on_disk: Lesson) -> None:
    at = np.random.default_rng(0).permutation(len(small_lesson.train))[:300]
    one, two = small_lesson.rows.take(at), on_disk.rows.take(at)
    on_disk.rows.release()
    for name in (*SIDES, "user_row", "item_row"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        np.testing.assert_array_equal(getattr(one, name), getattr(small_lesson.values, name)[at])


def test_the_latest_rows_are_taken_when_not_all_are(small: Tables, small_lesson: Lesson) -> None:
    few = lesson(small.items, small.users, small.impressions, small.history, DAY, most_rows=700)
    np.testing.assert_array_equal(few.values.user, small_lesson.values.user[-700:])
    np.testing.assert_array_equal(few.feedback.item_id, small_lesson.feedback.item_id[-700:])


@given(st.integers(0, 400), st.integers(1, 50), st.integers(1, 90), st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_gives_each_row_once_in_full_batches(n: int, size: int, pool: int, block: int, seed: int) -> None:
    rows = np.arange(n) * 3
    got = list(shuffled(rows, size, (seed, 1), pool, block))
    flat = np.concatenate(got) if got else np.empty(0, np.int64)
    assert len(np.unique(flat)) == len(flat)
    assert np.isin(flat, rows).all()
    assert [len(one) for one in got] == ([size] * (n // size) if n >= size else [n] * bool(n))
    again = list(shuffled(rows, size, (seed, 1), pool, block))
    assert all(np.array_equal(one, two) for one, two in zip(got, again, strict=True))


def test_epochs_and_seeds_draw_different_orders_and_pools_stay_local() -> None:
    rows = np.arange(4_000)
    first, other = (np.concatenate(list(shuffled(rows, 100, seed))) for seed in ((0, 0), (0, 1)))
    assert not np.array_equal(first, other)
    for batch in shuffled(rows, 100, (0, 0), pool=400, block=100):
        assert len(np.unique(batch // 100)) <= 8
    mixed = next(iter(shuffled(rows, 100, (0, 0), pool=400, block=100)))
    assert len(np.unique(mixed // 100)) > 1


@given(st.integers(0, 2**32), st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_moments_of_parts_are_those_of_the_whole(seed: int, sizes: list[int]) -> None:
    draw = np.random.default_rng(seed)
    whole = draw.normal(5.0, 2.0, (sum(sizes), 3)).astype(np.float32)
    moments = Moments(3)
    for part in np.split(whole, np.cumsum(sizes)[:-1]):
        moments.add(part)
    mean, std = moments.scale()
    if len(whole) > 1:
        np.testing.assert_allclose(mean, whole.mean(axis=0, dtype=np.float64), rtol=1e-6)
        np.testing.assert_allclose(std, np.maximum(whole.std(axis=0, dtype=np.float64), 0.05), rtol=1e-5)


def test_a_column_that_never_moves_keeps_its_size(small_lesson: Lesson) -> None:
    still = np.full((10, 2), 3.0, np.float32)
    rows = rows_in_memory(
        type(small_lesson.values)(still, still, still, np.zeros(10, np.int32), np.zeros(10, np.int32)),
        np.ones(10, np.bool_),
    )
    assert rows.scales["user"][1].tolist() == [1.0, 1.0]
    assert len(rows) == 10


def _written(folder: Path, dtype: type = np.float32, n: int = 4_000) -> None:
    part = {side: np.zeros((n, 3), dtype) for side in SIDES}
    rows = np.zeros(n, np.int32)
    rows_in_files(iter([part]), dict.fromkeys(SIDES, 3), rows, rows, np.ones(n, np.bool_), folder)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(ModelError) as refused:
            _written(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused.value.code == "model-043"
    assert list(tmp_path.iterdir()) == []


def test_a_feature_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        _written(tmp_path, np.int64)
    assert refused.value.code == "model-046"


PEAK = """
import re, sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
import numpy as np
from feature_log import small_log
from mainstem.ranking.lesson import lesson
from mainstem.ranking.rows import shuffled

def peak():  # of this program: what getrusage tells begins at the peak of the process that started it
    return int(re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text())[1]) / 1024

rows, folder = int(sys.argv[1]), sys.argv[2]
def learn(log, folder):
    made = lesson(log.items, log.users, log.impressions, log.history, 20220429, folder=folder, memory_bytes=8 << 20)
    for batch in shuffled(np.flatnonzero(made.train), 512, (0, 0), pool=8_192, block=2_048):
        made.rows.take(batch)
        made.rows.release()
    return len(made.rows)
small = small_log(rows=2_000, history=200)
learn(small, None if folder == "memory" else Path(folder) / "warm")  # compiled code and libraries are in memory from here on
log = small_log(rows=rows, history=200)
before = peak()
n = learn(log, None if folder == "memory" else Path(folder) / "rows")
print(n, peak() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Four times the rows: in a folder only the columns of the log itself grow, of which a row has a fifth of its features."""

    def grown(rows: int, folder: str) -> float:
        command = [sys.executable, "-c", PEAK, str(rows), folder, *sys.path]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=True)
        return float(done.stdout.split()[1])

    more = grown(240_000, str(tmp_path / "more")) - grown(60_000, str(tmp_path / "some"))
    more_in_memory = grown(240_000, "memory") - grown(60_000, "memory")
    sys.stdout.write(f"\n180,000 more rows: {more:.0f} MiB more in a folder, {more_in_memory:.0f} MiB more in memory\n")
    assert more < 0.5 * more_in_memory
