"""The page "Add a feature" is followed word for word: its files, its commands, its refusal."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import FeatureError
from mainstem.cli.verbs import app
from mainstem.data.world import WorldSettings, make_world, write_world_log

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "add-a-feature.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("mainstem ")]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "log"
    write_world_log(make_world(WorldSettings(users=60, items=500, days=4, impressions=1_500, seed=5)), folder)
    return folder


@pytest.fixture
def place(log: Path, tmp_path: Path) -> Path:
    (tmp_path / "log").symlink_to(log)
    (tmp_path / "mainstem.toml").write_text(blocks("toml")[0])
    (tmp_path / "features.py").write_text(blocks("python")[0])
    return tmp_path


def run(words: list[str], place: Path, *more: str) -> str:
    done = CliRunner().invoke(app, [*(str(place) if word == "demo" else word for word in words), *more])
    if isinstance(done.exception, FeatureError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_is_to_be_written_is_at_most_ten_lines() -> None:
    written = [line for text in (blocks("toml")[0], blocks("python")[0]) for line in text.splitlines() if line.strip()]
    assert len(written) <= 10


def test_the_commands_do_what_the_page_says(place: Path) -> None:
    check, backfill, read, accept, *_ = commands()
    assert "creator_likes" in run(check, place)
    answer = json.loads(run(backfill, place, "--json", "-q"))
    assert Path(answer["path"]).name.startswith("creator_likes@1-")
    values = pl.read_parquet(Path(answer["path"]) / "values.parquet")
    assert {"as_of", "creator_likes_1d", "creator_likes_7d", "creator_likes_7d__state"} <= set(values.columns)
    assert values.height == pl.read_parquet(place / "log" / "impressions.parquet").height
    assert [row["state"] for row in json.loads(run(read, place, "--json"))] == ["known", "known"]
    run(accept, place)
    assert (place / "features.lock.json").is_file()


def test_a_changed_meaning_is_refused_until_its_version_is_raised(place: Path) -> None:
    check, _, _, accept, *_ = commands()
    run(accept, place)
    first, changed = blocks("python")[0], blocks("python")[2]
    (place / "features.py").write_text(first + changed.replace(", version=2", ""))
    with pytest.raises(FeatureError, match="creator_likes") as refused:
        run(check, place)
    assert refused.value.code == "feature-005"
    (place / "features.py").write_text(first + changed)
    assert json.loads(run(accept, place, "--json"))["changed"] == ["creator_likes"]


def test_the_role_makes_it_a_column_of_the_ranker_and_so_another_set(place: Path) -> None:
    check = commands()[0]
    before = json.loads(run(check, place, "--json"))["fingerprint"]
    (place / "features.py").write_text(blocks("python")[0] + blocks("python")[1])
    after = json.loads(run(check, place, "--json"))
    assert after["fingerprint"] != before
    assert "creator_warmth" in {row["name"] for row in after["features"] if row["role"] == "item"}


def test_every_recipe_is_computed(place: Path) -> None:
    (place / "features.py").write_text(blocks("python")[0] + blocks("python")[3])
    check, _, read, *_ = commands()
    declared = {row["name"]: row["kind"] for row in json.loads(run(check, place, "--json"))["features"]}
    recipes = re.findall(r'Feature\("(\w+)"', blocks("python")[3])
    assert set(recipes) <= set(declared)
    for name in (name for name in recipes if declared[name] not in ("latest", "listed")):
        rows = json.loads(run([name if word == "creator_likes" else word for word in read], place, "--json"))
        assert rows[0]["state"].startswith("known"), name


def test_a_price_is_the_one_of_its_time(place: Path) -> None:
    shown = pl.read_parquet(place / "log" / "impressions.parquet")
    half = int(shown["time_ms"].median() or 0)
    item = shown["item_id"].mode().to_list()[0]
    prices = {"item_id": [item, item], "price": [5.0, 7.0], "from_ms": [0, half]}
    pl.DataFrame(prices).write_parquet(place / "prices.parquet")
    (place / "mainstem.toml").write_text("".join(blocks("toml")[:2]))
    (place / "features.py").write_text(blocks("python")[0] + blocks("python")[4])
    backfill = ["price" if word == "creator_likes" else word for word in commands()[1]]
    values = pl.read_parquet(Path(json.loads(run(backfill, place, "--json", "-q"))["path"]) / "values.parquet")
    expected = [
        9.99 if one != item else 5.0 if when < half else 7.0 for one, when in shown["item_id", "time_ms"].rows()
    ]
    assert values["price"].to_list() == pytest.approx(expected)


def test_the_new_feature_agrees_in_every_bit(place: Path) -> None:
    (verify,) = (words for words in commands() if words[0] == "parity")
    answer = json.dumps(json.loads(run(verify, place, "--requests", "20", "--json", "-q")))
    assert "creator_likes_7d" in answer


def test_likeness_in_words_is_a_cosine(place: Path) -> None:
    (extract,) = (words for words in commands() if "extract" in words)
    run(extract, place, "-q")
    (place / "mainstem.toml").write_text(blocks("toml")[0] + blocks("toml")[2])
    (place / "features.py").write_text(
        blocks("python")[0] + blocks("python")[4].splitlines()[0] + "\n" + blocks("python")[5]
    )
    backfill = ["reads_alike" if word == "creator_likes" else word for word in commands()[1]]
    values = pl.read_parquet(Path(json.loads(run(backfill, place, "--json", "-q"))["path"]) / "values.parquet")
    known = values.filter(pl.col("reads_alike__state") == 0)["reads_alike"]
    assert known.len() > 0
    assert 0.9 < float(known.max() or 0) <= 1.0001  # type: ignore[arg-type]
