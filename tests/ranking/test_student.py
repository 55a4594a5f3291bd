"""A student learns a teacher's heads, is stored whole, and refuses what it was not taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mainstem.base.errors import ModelError
from mainstem.ranking.distil import DistilSettings, Taught, distil
from mainstem.ranking.student import Student, load_student


def made(rows: int = 6_000) -> Taught:
    """A teacher that is a small nonlinear function, blind in a tenth of one column."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(rows, 6)).astype(np.float32)
    targets = np.stack([inputs[:, 0] * 2 - inputs[:, 1], np.abs(inputs[:, 2]) + inputs[:, 3]], axis=1)
    inputs[random.random(rows) < 0.1, 5] = np.nan
    targets[:, 0] += np.where(np.isnan(inputs[:, 5]), 1.0, 0.0)
    return Taught(inputs, targets.astype(np.float32), np.ones(2, np.float32), np.repeat(np.arange(rows // 20), 20))


def student_of(taught: Taught, epochs: int = 12) -> Student:
    tower = distil(taught, DistilSettings(hidden=48, second=24, epochs=epochs, batch=256))
    return Student(tuple("abcdef"), np.array([True, False]), {"feed": tower}, {"teacher": "made"})


@pytest.fixture(scope="module")
def taught() -> Taught:
    return made()


@pytest.fixture(scope="module")
def student(taught: Taught) -> Student:
    return student_of(taught)


def test_it_answers_like_its_teacher(student: Student, taught: Taught) -> None:
    said = student.towers["feed"].logits(taught.inputs)
    for head in range(2):
        assert np.corrcoef(said[:, head], taught.targets[:, head])[0, 1] > 0.98


def test_probabilities_and_amounts(student: Student, taught: Taught) -> None:
    said = student.predict("feed", taught.inputs[:50])
    assert ((said[:, 0] > 0) & (said[:, 0] < 1)).all()
    assert (said[:, 1] >= 0).all()
    assert np.isfinite(student.predict("feed", np.full((3, 6), np.nan))).all()


def test_the_same_seed_gives_the_same_bytes(taught: Taught) -> None:
    first, second = (student_of(taught, 1).towers["feed"].as_arrays() for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_stored_and_read_again(student: Student, taught: Taught, tmp_path: Path) -> None:
    student.save(tmp_path)
    again = load_student(tmp_path)
    assert again.inputs == student.inputs
    assert again.card["teacher"] == "made"
    assert np.array_equal(again.predict("feed", taught.inputs), student.predict("feed", taught.inputs))
    (tmp_path / "student.npz").write_bytes((tmp_path / "student.npz").read_bytes()[:400])
    with pytest.raises(ModelError) as caught:
        load_student(tmp_path)
    assert caught.value.code == "model-094"


def test_what_it_was_not_taught_is_refused(student: Student) -> None:
    for surface, columns, code in (("pages", 6, "model-092"), ("feed", 5, "model-093")):
        with pytest.raises(ModelError) as caught:
            student.predict(surface, np.zeros((1, columns)))
        assert caught.value.code == code


def test_a_silent_or_broken_teacher_is_refused(taught: Taught) -> None:
    nothing = Taught(taught.inputs[:0], taught.targets[:0], taught.weight, taught.request[:0])
    broken = Taught(taught.inputs, np.full_like(taught.targets, np.inf), taught.weight, taught.request)
    for one, code in ((nothing, "model-090"), (broken, "model-091")):
        with pytest.raises(ModelError) as caught:
            distil(one)
        assert caught.value.code == code
