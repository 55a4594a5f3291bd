"""The bundled migration written out, what moved since a revision, and the doors on the command line."""

import json
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mainstem.base.errors import ProgramError
from mainstem.capacity.calibration import WORK, Calibration, Fitted, Hardware, save
from mainstem.capacity.ledger import read_ledger
from mainstem.capacity.measuring import RANKERS
from mainstem.cli.verbs import app
from mainstem.workspace.transition import Joined, read_transition
from mainstem.workspace.transition_moved import moves_of, transition_at, what_moved_both
from mainstem.workspace.transition_slips import delayed
from mainstem.workspace.transition_written import CONSTANTS, bundled, constants, write_transition

TODAY = date(2026, 11, 22)
WORLDS = 200


def made_constants() -> Calibration:
    low, high = ({key: edge(one[key] for one in RANKERS) for key in RANKERS[0]} for edge in (min, max))
    fitted = Fitted(dict.fromkeys(WORK["ranker"], 1e-12), low, high, 30, 15, 0.04, 0.1, 0.9, 1.1)
    return Calibration(Hardware.here(), TODAY, date(2999, 1, 1), {"ranker": fitted}, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundled(tmp_path / "migration")
    save(made_constants(), tmp_path / "migration" / CONSTANTS)
    return tmp_path / "migration"


@pytest.fixture
def held(folder: Path) -> Joined:
    return read_transition(folder, made_constants(), today=TODAY)


def test_every_part_is_written_and_every_figure_says_what_it_rests_on(folder: Path, held: Joined) -> None:
    found = write_transition(folder, held, made_constants(), TODAY, worlds=WORLDS)
    assert all(file.is_file() for file in (*found.files, *found.opens))
    assert {one.mark for one in found.rests} == {"measured", "measured x made", "made", "elicited", "computed"}
    told = json.loads((found.folder / "timeline.json").read_text())
    assert {one["name"] for one in told["resources"]} == {"serving", "data"}
    assert len(json.loads((found.folder / "schedule.json").read_text())) == len(held.program.tasks)
    assert "absent" in (found.folder / "weekly.md").read_text()  # no evidence was shown, and that is said


def test_the_ledger_holds_forecasts_only_and_none_twice(folder: Path, held: Joined) -> None:
    write_transition(folder, held, made_constants(), TODAY, worlds=WORLDS)
    found = write_transition(folder, held, made_constants(), TODAY, worlds=WORLDS)
    book = read_ledger(folder / "savings.jsonl")
    assert book.entries == found.ledger.entries == 6
    assert {one.state for one in book.book.claims.values()} == {"forecast"}
    assert sum(book.book.verified.values()) == 0.0


def test_same_seed_same_bytes(folder: Path, held: Joined) -> None:
    texts = []
    for _ in range(2):
        found = write_transition(folder, held, made_constants(), TODAY, worlds=WORLDS, seed=3)
        texts.append([file.read_bytes() for file in found.files])
    assert texts[0] == texts[1]


def test_constants_that_hold_are_not_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(**_: object) -> Calibration:
        return replace(made_constants(), measured=date(2026, 1, 1))

    monkeypatch.setattr("mainstem.workspace.transition_written.measure", measured)
    assert constants(folder / CONSTANTS, TODAY).measured == TODAY
    assert constants(folder / "other.json", TODAY).measured == date(2026, 1, 1)
    assert (folder / "other.json").is_file()


def test_what_did_not_move_does_not_move(held: Joined) -> None:
    found = what_moved_both(held, held, worlds=WORLDS)
    assert found.program.edits == found.program.moves == found.capacity == ()


def test_a_slip_moves_its_p80_and_its_dual_running(held: Joined) -> None:
    found = what_moved_both(held, delayed(held, "pages", 6), worlds=WORLDS)
    moved = {one.what: one.by for one in moves_of(found)}
    assert moved["milestones.pages-live P80"] >= 6 * 7 - 3
    assert moved["serving dual running of pages P50"] > 0
    assert "serving dual running of feed P50" not in moved
    assert moved["dual running costs P50"] > 0


def git(folder: Path, *words: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(folder), *names, *words], check=True, capture_output=True)


def test_a_revision_is_compared_with_what_lies_there_now(folder: Path, held: Joined) -> None:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "as planned")
    file = folder / "capacity.toml"
    file.write_text(file.read_text().replace("reserve = 0.5", "reserve = 1.0", 1))
    now = read_transition(folder, made_constants(), today=TODAY)
    found = what_moved_both(transition_at(folder, "HEAD", made_constants(), today=TODAY), now, worlds=WORLDS)
    assert [(one.record, one.field, one.was, one.now) for one in found.program.edits] == [
        ("surfaces.feed", "reserve", "0.5", "1.0")
    ]
    assert "serving peak P50" in {one.what for one in found.capacity}
    with pytest.raises(ProgramError) as no:
        transition_at(folder, "nowhere", made_constants(), today=TODAY)
    assert no.value.code == "program-030"


def test_the_doors(folder: Path) -> None:
    run = CliRunner().invoke
    told = run(app, ["transition", "delay", "feed", "4", str(folder), "--worlds", "50"])
    assert told.exit_code == 0, told.output
    assert "feed 4 weeks later" in told.output
    told = run(app, ["transition", "stretch", "--worlds", "50", "--", "feed", "-1", str(folder)])
    assert "feed ramps -1 weeks longer" in told.output
    capped = run(app, ["transition", "level", str(folder), "--cap", "serving=1e9", "--json", "--keep-old"])
    assert json.loads(capped.stdout)["order"] == ["feed", "groups", "pages"]
    assert run(app, ["transition", "level", str(folder), "--cap", "serving=a"]).exit_code == 2
    assert run(app, ["transition", "new", str(folder)]).output.startswith("made 0 files")


def test_one_command_ends_with_what_to_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    told = CliRunner().invoke(app, ["transition", "run", str(folder), "--worlds", "100", "--json", "-q"])
    assert told.exit_code == 0, told.output
    opens = json.loads(told.stdout)["open"]
    page = Path(opens[0]).read_text()
    assert page.count("<svg") == 3
    assert page.count("<table>") == 4
    assert "measured x made" in page
