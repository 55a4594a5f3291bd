"""The registry: versions are never changed, what serves switches at once, and a kill, a full disk or two writers lose nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import ModelError
from mainstem.workspace.layout import Workspace
from mainstem.workspace.registry import CURRENT, HISTORY, VERSIONS, Registry, current_folder, version_of


def _writer(text: str):  # type: ignore[no-untyped-def]
    return lambda folder: (folder / "model.npz").write_text(text)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models" / "unified", lambda: 1_000)


def test_a_version_holds_what_was_written_and_serves(registry: Registry) -> None:
    one = registry.add(_writer("one"), {"rows": 3, "when": Path("x")})
    two = registry.add(_writer("two"), {}, parents=(one.id,))
    assert registry.current == two.id == registry.get("current").id
    assert (current_folder(registry.folder) / "model.npz").read_text() == "two"
    assert version_of(current_folder(registry.folder)) == two.id
    assert [held.id for held in registry.versions()] == [one.id, two.id]
    assert registry.get(one.id).about == {"rows": 3, "when": "x"}
    assert registry.ancestry(two) == (one, two)
    assert (registry.path(one) / "model.npz").read_text() == "one"


def test_the_same_bytes_have_the_same_name_but_for_the_number(registry: Registry) -> None:
    one, two = (registry.add(_writer("same"), {}) for _ in range(2))
    assert one.id[5:] == two.id[5:]
    assert one.number + 1 == two.number


def test_going_back_is_a_switch_and_is_remembered(registry: Registry) -> None:
    one, two = (registry.add(_writer(text), {}) for text in ("one", "two"))
    registry.promote(one.id[:6], "two was worse")
    assert registry.current == one.id
    assert [(told.id, told.before, told.reason) for told in registry.history()] == [
        (one.id, "", "trained"), (two.id, one.id, "trained"), (one.id, two.id, "two was worse")
    ]  # fmt: skip
    registry.promote(one.id)
    assert len(registry.history()) == 3


def test_a_candidate_does_not_serve(registry: Registry) -> None:
    one = registry.add(_writer("one"), {})
    registry.add(_writer("two"), {}, promote=False)
    assert registry.current == one.id


@pytest.mark.parametrize("asked", ["0009", "", "0001-zz", "current"])
def test_an_unknown_version_is_refused(registry: Registry, asked: str) -> None:
    if asked != "current":
        registry.add(_writer("one"), {})
    with pytest.raises(ModelError) as refused:
        registry.get(asked)
    assert refused.value.code == "model-050"


def test_a_damaged_version_is_never_promoted(registry: Registry) -> None:
    one, two = (registry.add(_writer(text), {}) for text in ("one", "two"))
    (registry.path(one) / "model.npz").write_text("One")
    with pytest.raises(ModelError, match=r"model\.npz") as refused:
        registry.promote(one.id)
    assert refused.value.code == "model-051"
    assert registry.current == two.id
    assert [registry.is_whole(held) for held in (one, two)] == [False, True]


def test_a_full_disk_leaves_what_served(registry: Registry) -> None:
    one = registry.add(_writer("one"), {})

    def full(folder: Path) -> None:
        (folder / "model.npz").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ModelError) as refused:
        registry.add(full, {})
    assert refused.value.code == "model-052"
    assert registry.current == one.id
    assert [path.name for path in (registry.folder / VERSIONS).iterdir()] == [one.id]


def test_a_killed_writer_leaves_no_version_and_is_cleared_away(registry: Registry) -> None:
    registry.add(_writer("one"), {})
    code = (
        "import os, sys; from pathlib import Path; from mainstem.workspace.registry import Registry\n"
        "def die(folder):\n (folder / 'model.npz').write_text('half'); os.kill(os.getpid(), 9)\n"
        "Registry(Path(sys.argv[1])).add(die, {})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code, str(registry.folder)], env=environment).returncode == -9
    assert len(registry.versions()) == 1
    assert len(list((registry.folder / VERSIONS).iterdir())) == 2
    registry.add(_writer("two"), {})
    assert len(list((registry.folder / VERSIONS).iterdir())) == 2


def test_a_torn_history_and_a_lost_pointer_are_survived(registry: Registry) -> None:
    one = registry.add(_writer("one"), {})
    with (registry.folder / HISTORY).open("a") as file:
        file.write('{"id": "half')
    registry.promote(one.id)
    two = registry.add(_writer("two"), {})
    assert [told.id for told in registry.history()] == [one.id, two.id]
    (registry.folder / CURRENT).write_text("0042-nothere\n")
    assert registry.current == ""
    assert current_folder(registry.folder) == registry.folder
    assert registry.promote(two.id).id == registry.current


def test_two_writers_make_two_versions(registry: Registry) -> None:
    def write(text: str) -> None:
        for n in range(8):
            Registry(registry.folder).add(_writer(f"{text}{n}"), {})

    writers = [threading.Thread(target=write, args=(text,)) for text in "ab"]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    held = registry.versions()
    assert [one.number for one in held] == list(range(1, 17))
    assert all(registry.is_whole(one) for one in held)
    assert registry.current == held[-1].id


def test_a_reader_meets_a_whole_model_while_it_is_switched(registry: Registry) -> None:
    for text in ("one", "two"):
        registry.add(_writer(text), {})
    ids = [one.id for one in registry.versions()]
    stop = threading.Event()

    def switch() -> None:
        for n in range(60):
            registry.promote(ids[n % 2])
        stop.set()

    thread = threading.Thread(target=switch)
    thread.start()
    while not stop.is_set():
        assert (current_folder(registry.folder) / "model.npz").read_text() in ("one", "two")
    thread.join()


def test_where_no_model_was_there_is_nothing_to_adopt(tmp_path: Path) -> None:
    Registry(tmp_path / "models" / "unified").adopt()
    assert list(tmp_path.iterdir()) == []


def test_a_model_from_before_versions_becomes_the_first(tmp_path: Path) -> None:
    place = Workspace.open(tmp_path, {})
    old = tmp_path / "models" / "unified"
    old.mkdir(parents=True)
    (old / "model.npz").write_text("old")
    (old / "model.json").write_text('{"log": "x", "calibration": {}}')
    assert place.unified_model == old
    assert version_of(place.unified_model) == ""
    place.models().adopt()
    assert version_of(place.unified_model) == place.models().current != ""
    place.models().adopt()
    new = place.models().add(_writer("new"), {})
    first, second = place.models().versions()
    assert (place.models().path(first) / "model.npz").read_text() == "old"
    assert first.about == {"log": "x"}
    assert second.id == new.id
    assert (place.unified_model / "model.npz").read_text() == "new"
    assert not (old / "model.npz").exists()
    place.models().promote("1")
    assert (place.unified_model / "model.json").is_file()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=12))
def test_what_serves_is_always_the_last_promotion(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]]
) -> None:
    registry = Registry(tmp_path_factory.mktemp("registry"), lambda: 1)
    told = ""
    for train, which in steps:
        held = registry.versions()
        made = train or not held
        one = registry.add(_writer(str(which)), {}) if made else registry.promote(held[which % len(held)].id)
        told = one.id
    assert registry.current == told
    assert not registry.history() or registry.history()[-1].id == told
