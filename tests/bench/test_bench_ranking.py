"""The ranking tables from end to end: a folder in the official layout, our ranker learned small, three regimes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_sets import Workers
from numpy.typing import NDArray

from mainstem.base.errors import BenchError
from mainstem.bench import context as running
from mainstem.bench import ranking, ranking_export, ranking_worker
from mainstem.bench.models import Wanted, bench_models
from mainstem.bench.process import read_job, write_answer
from mainstem.bench.ranking_figures import AVERAGE, Judged, figures
from mainstem.bench.ranking_log import DAYS, RankingLog
from mainstem.bench.ranking_targets import better_arm
from mainstem.bench.tables import Table
from mainstem.data.log import read_log
from mainstem.evaluate.metrics import primary

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from kuairand_folder import FIRST_LOG, SECOND_LOG, START_MS, log_row, write_folder

DAY_MS = 86_400_000


def official_folder(folder: Path) -> Path:
    """Two users, three videos, some rows on every day from 04-08 to 05-08, one of them twice."""
    rng = np.random.default_rng(3)
    logs: dict[str, list[dict[str, Any]]] = {FIRST_LOG: [], SECOND_LOG: []}
    for ahead in range(-17, 14):
        date = 20220425 + ahead if ahead < 6 else 20220501 + ahead - 6
        for user in (0, 1):
            for step in range(4):
                video = int(rng.integers(3))
                seen = int(rng.random() < (0.2, 0.5, 0.8)[video])
                told = {"date": date, "is_click": seen, "long_view": seen, "play_time_ms": 4_000 * seen}
                row = log_row(user, video, ahead * DAY_MS / 1000 + user * 900 + step * 60, **told)
                logs[FIRST_LOG if date <= 20220421 else SECOND_LOG].append(row)
    logs[SECOND_LOG].append(dict(logs[SECOND_LOG][-1]))
    (folder / "data").parent.mkdir(parents=True, exist_ok=True)
    write_folder(folder / "data", logs)
    return folder


@dataclass(frozen=True)
class Ran:
    """One run of random systems over the made folder, for all tests that only look at it."""

    tables: list[Table]
    log: Path
    rows: Path


@pytest.fixture(scope="module")
def ran(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        tables = run(sets, out, patch, random_scores, seeds=2)
    (log,) = (out / "models" / "processes").glob("*.log")
    return Ran(tables, log, log.parent / "kuairand-official.rows.0")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sets")
    official_folder(place / "KuaiRand-Pure")
    return place


def random_scores(path: str) -> int:
    """A system that scores at random, in place of ours."""
    job = read_job(path)
    rows = RankingLog.open(Path(job["log"]), DAYS[job["protocol"]])
    rng = np.random.default_rng(int(job["seed"]))
    names = ("frozen", "continuous") if job["system"] != "unified" else ("frozen", "daily", "continuous")
    for name in names:
        np.save(Path(job["folder"], f"{name}.npy"), rng.random(int(rows.judged.sum())).astype(np.float32))
    np.save(Path(job["folder"], "heads.npy"), rng.random((int(rows.judged.sum()), 7)).astype(np.float32))
    write_answer(job, {"fit_cpu_s": 0.1})
    return 0


def run(
    sets: Path, out: Path, monkeypatch: pytest.MonkeyPatch, worker: Callable[[str], int], **more: Any
) -> list[Table]:
    stand_in = Workers({"ranking_export": ranking_export.main, "ranking_worker": worker})
    monkeypatch.setattr(running, "run_fresh", stand_in)
    wanted = Wanted(only="kuairand-official", peers=False, data=sets, out=out / "models.json", **more)
    return list(bench_models(wanted).tables)


def test_the_official_layout_gives_three_tables(ran: Ran) -> None:
    frozen, daily, continuous = ran.tables
    assert "a folder, no archive to check" in frozen.header["data"]
    assert "train 20220408–20220421 (75 rows" in frozen.header["split"]
    row = frozen.row("unified")
    assert row is not None
    assert row.seeds == 2
    assert set(row.spread) == {"primary", "gauc", "ndcg@5"}
    assert frozen.row(AVERAGE) is not None
    assert next(one for one in daily.rows if one.system == "content-first").note == "has no daily state"
    told = {verdict.target: verdict.met for verdict in continuous.verdicts}
    assert told["unified, continuous: primary at least 0.6150"] is not None
    assert told["unified ahead of LightGBM LambdaRank, primary, lower bound above 0"] is None
    assert any("on cold items" in verdict.target for verdict in frozen.verdicts)
    assert any(row.kind == "published" and row.figures["primary"] == 0.5946 for row in frozen.rows)


def test_repeated_rows_count_as_often_as_the_files_show_them(ran: Ran) -> None:
    log = ran.log
    rows = RankingLog.open(log, DAYS["kuairand-official"])
    assert read_log(log).dropped.height == 1
    assert len(rows.expanded()) == int(rows.judged.sum()) + 1
    assert rows.expanded()[-1] == int(rows.judged.sum()) - 1


def test_what_each_regime_knows(ran: Ran) -> None:
    rows = RankingLog.open(ran.log, DAYS["kuairand-official"])
    day = rows.log.impressions["day"].to_numpy()
    for regime in ("frozen", "daily"):
        covered = np.zeros(len(day), int)
        for mask, known_until_ms in rows.moments(regime):
            covered += mask
            assert known_until_ms is not None
            assert known_until_ms < START_MS + DAY_MS * 40
            first = rows.log.impressions["time_ms"].to_numpy()[mask].min()
            assert known_until_ms < first
        np.testing.assert_array_equal(covered, rows.judged.astype(int))
    assert rows.moments("continuous")[0][1] is None
    # The lesson sees all validation days as one and nothing later.
    assert set(rows.taught["day"].unique()) == {*range(20220408, 20220422), 20220428}
    place = ran.rows
    # Without a history, the first third of the training days teaches what is learned once (ranking.lesson.constants).
    assert len(np.load(place / "train_y.npy")) == 112 - 112 // 3
    x = {regime: np.load(place / f"judged_x_{regime}.npy") for regime in ("frozen", "daily", "continuous")}
    assert not np.array_equal(x["frozen"], x["continuous"])
    assert not np.array_equal(x["daily"], x["continuous"])


@pytest.mark.slow
def test_our_ranker_goes_through(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ours(path: str) -> int:
        return ranking_worker.main(path) if read_job(path)["system"] == "unified" else random_scores(path)

    frozen = run(sets, tmp_path, monkeypatch, ours, seeds=1)[0]
    row = frozen.row("unified")
    assert row is not None
    assert 0 <= row.figures["ndcg@5"] <= 1
    assert any(note.startswith("AUC of heads on test rows, unified") for note in frozen.notes)


def test_a_log_without_the_protocols_days_is_refused(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path / "sets"
    (short / "KuaiRand-Pure").mkdir(parents=True)
    rows = [log_row(0, step % 3, step * 60) for step in range(5)]
    write_folder(short / "KuaiRand-Pure", {SECOND_LOG: rows})
    with pytest.raises(BenchError) as caught:
        run(short, tmp_path, monkeypatch, random_scores)
    assert caught.value.code == "bench-019"


def test_figures_are_the_evaluators() -> None:
    rng = np.random.default_rng(5)
    n = 400
    user = rng.integers(0, 30, n)
    label = rng.integers(0, 2, n).astype(np.int8)
    test = np.arange(n) >= 100
    y = np.repeat(label[:, None], 7, axis=1)
    scores: dict[str, list[NDArray[np.float64]]] = {
        "unified": [label + rng.normal(0, 1, n), label + rng.normal(0, 1, n)],
        "content-first": [rng.random(n)],
        "interest-first": [label + rng.normal(0, 5, n)],
    }
    nothing = np.zeros(n, np.int8)
    judged = Judged(np.arange(n), user, test, y, nothing, nothing == 0, np.zeros(n), "")
    told = figures(judged, scores, ("content-first", "interest-first"), {"half": np.arange(n) % 2 == 0})
    for at, one in enumerate(scores["unified"]):
        assert told.of("unified")["primary"][at] == pytest.approx(primary(one[test], label[test], user[test]))
    between = told.difference("unified", "content-first")
    assert between is not None
    assert between.mid == pytest.approx(told.means("unified")["primary"] - told.means("content-first")["primary"])
    assert between.low > 0
    assert told.difference("unified", "content-first", "half") is not None
    assert better_arm(told) == max(
        ("content-first", "interest-first"), key=lambda arm: primary(scores[arm][0][~test], label[~test], user[~test])
    )


def test_the_peers_of_both_tables_have_scripts_and_pins() -> None:
    from mainstem.bench.peers import ENVIRONMENTS, peers_here
    from mainstem.bench.sequence_peers import PEERS

    scripts = peers_here().scripts
    assert scripts is not None
    for peer in (*PEERS, *ranking.PEERS):
        assert (scripts / f"{peer.script}.py").is_file()
        assert peer.environment in ENVIRONMENTS
    for name in ENVIRONMENTS:
        pins = (scripts / f"requirements-{name}.lock").read_text()
        assert "--hash=sha256:" in pins
        assert "://" not in pins


def test_a_folder_without_side_files_is_refused_with_its_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "sets" / "KuaiRand-Pure"
    place.mkdir(parents=True)
    (place / FIRST_LOG).write_text("user_id,video_id\n")
    with pytest.raises(BenchError) as caught:
        run(place.parent, tmp_path, monkeypatch, random_scores)
    assert caught.value.code == "bench-015"
    assert caught.value.hint


def test_the_unpacked_official_archive_is_recognised(sets: Path) -> None:
    from mainstem.data.loaders import kuairand

    assert kuairand.recognises(sets / "KuaiRand-Pure")
    assert kuairand.load(sets / "KuaiRand-Pure").tables["impressions"].height == 31 * 2 * 4
