"""A table from end to end on a made set: rows, absent peers, resume, refusals, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_sets import Workers, write_ml_100k
from typer.testing import CliRunner

from mainstem.base.errors import BenchError
from mainstem.bench import context as running
from mainstem.bench import sequence_systems, sequence_worker, sequences
from mainstem.bench.models import Wanted, bench_models
from mainstem.bench.peers import Peers, install, peers_here
from mainstem.bench.sequence_targets import TARGETS, Target
from mainstem.bench.tables import Table
from mainstem.cli.bench import app

ANCHORS = sequence_systems.SYSTEMS[:2]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Anchors only, in this process."""
    stand_in = Workers({"sequence_worker": sequence_worker.main})
    monkeypatch.setattr(running, "run_fresh", stand_in)
    monkeypatch.setattr(sequence_systems, "SYSTEMS", ANCHORS)
    return stand_in


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    write_ml_100k(tmp_path / "sets" / "ml-100k")
    return tmp_path / "sets"


def wanted(sets: Path, tmp_path: Path, **more: object) -> Wanted:
    return Wanted(only="ml-100k", data=sets, out=tmp_path / "out" / "models.json", **more)  # type: ignore[arg-type]


def test_peers_that_are_not_installed_are_rows_that_say_so(workers: Workers, sets: Path, tmp_path: Path) -> None:
    here = peers_here()
    answer = bench_models(wanted(sets, tmp_path), peers=Peers(here.scripts, tmp_path / "none"))
    (table,) = answer.tables
    rows = {row.system: row for row in table.rows}
    assert rows["popularity"].seeds == rows["EASE"].seeds == 1
    assert rows["EASE"].peak_mb is not None
    assert 0 <= rows["EASE"].intervals["ndcg@10"].low <= rows["EASE"].figures["ndcg@10"]
    assert "mainstem bench peers makes it" in rows["LensKit EASE"].note
    assert rows["LensKit EASE"].seeds == 0
    told = answer.markdown()
    assert "| LensKit EASE [peer] |  |" in told
    assert "split: leave-one-out, md5 " in told
    assert "- measured: 20" in told
    assert (tmp_path / "out" / "models.md").read_text() == told


def test_a_killed_run_goes_on_where_it_stopped(workers: Workers, sets: Path, tmp_path: Path) -> None:
    workers.fail["EASE"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench_models(wanted(sets, tmp_path, peers=False))
    assert workers.ran == ["popularity", "EASE"]
    workers.fail.clear()
    answer = bench_models(wanted(sets, tmp_path, peers=False, resume=True))
    assert workers.ran == ["popularity", "EASE", "EASE"]
    # Everything is kept now; without --resume everything is measured again.
    again = bench_models(wanted(sets, tmp_path, peers=False, resume=True))
    assert len(workers.ran) == 3
    assert [row.figures for row in again.tables[0].rows] == [row.figures for row in answer.tables[0].rows]
    bench_models(wanted(sets, tmp_path, peers=False))
    assert len(workers.ran) == 5


def test_other_data_is_measured_again(workers: Workers, sets: Path, tmp_path: Path) -> None:
    bench_models(wanted(sets, tmp_path, peers=False))
    write_ml_100k(sets / "ml-100k", seed=1)
    bench_models(wanted(sets, tmp_path, peers=False, resume=True))
    assert len(workers.ran) == 4


def test_a_model_that_this_version_lacks_and_one_that_breaks_are_rows(
    workers: Workers, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(given: sequence_systems.Given) -> sequence_systems.NextItem:
        raise ImportError("no module named anything")

    one = sequence_systems.System("to come", "ours", missing)
    monkeypatch.setattr(sequence_systems, "SYSTEMS", (*ANCHORS, one))
    answer = bench_models(wanted(sets, tmp_path, peers=False))
    row = next(row for row in answer.tables[0].rows if row.system == "to come")
    assert row.note.startswith("absent: not part of this version")


@pytest.mark.parametrize(
    ("only", "code"), [("ml-2m", "bench-014"), ("ml-1m", "bench-012"), ("lastfm", "bench-015"), ("beauty", "bench-013")]
)
def test_what_is_not_the_set_is_refused(sets: Path, tmp_path: Path, only: str, code: str) -> None:
    if only == "lastfm":
        (sets / "amazon_lastfm_seq").mkdir()
    if only == "beauty":
        (sets / "amazon_lastfm_seq.tar.xz").write_bytes(b"no archive")
    with pytest.raises(BenchError) as caught:
        bench_models(Wanted(only=only, data=sets, out=tmp_path / "models.json"))
    assert caught.value.code == code


def test_census_is_left_out_and_says_why(tmp_path: Path) -> None:
    answer = bench_models(Wanted(only="census", out=tmp_path / "models.json"))
    assert not answer.tables
    assert "compare with no published table" in answer.markdown()


def test_the_verb_prints_and_says_no(
    workers: Workers, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["models", "--only", "ml-100k", "--data", str(sets), "--no-peers", "--out", str(tmp_path / "m.json"), "-q"]
    good = CliRunner().invoke(app, [*asked, "--json"])
    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["tables"][0]["protocol"] == "ml-100k"
    monkeypatch.setitem(TARGETS, "ml-100k", (Target("EASE", {"hr@10": 1.01}, peak_mb=1e6),))
    missed = CliRunner().invoke(app, [*asked, "--resume"])
    assert missed.exit_code == 3
    assert "NOT MET: EASE hr@10 at least 1.01" in missed.stdout
    assert "met: EASE peak MB at most 1e+06" in missed.stdout


def test_a_peer_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        install(Peers(tmp_path, tmp_path / "home"), ["rectool"])
    assert caught.value.code == "bench-018"
    with pytest.raises(BenchError) as caught:
        install(Peers(None, tmp_path / "home"), ["rectools"])
    assert caught.value.code == "bench-017"
    with pytest.raises(BenchError) as caught:
        Peers(None, tmp_path).command("rectools", "sequences_rectools")
    assert caught.value.code == "bench-017"


def test_published_rows_are_marked_and_stand_first() -> None:
    rows = [sequences.Row(one.system, "published", one.figures) for one in sequences.published.SEQUENCES["ml-1m"]]
    table = Table("ml-1m", "t", {}, sequences.METRICS, tuple(rows))
    assert table.markdown().count("[published]") == len(rows)
