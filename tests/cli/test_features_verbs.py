"""``mainstem features``: list, check, accept, back-fill and read, on a small made log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import FeatureError
from mainstem.cli.verbs import app
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.workspace.definitions import LOCK, declared_in, feature_set
from mainstem.workspace.layout import Workspace

DECLARED = """
from mainstem.features.language import Feature, count
from mainstem.features.unified import FEEDBACK

creator_likes = Feature("creator_likes", count("{where}"), over="creator_id", source=FEEDBACK, windows=("1d", "7d"),
                        unit="likes", about="likes of its creator's items", version={version})
"""
USUAL = DECLARED.format(where="like == 1", version=1)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "log"
    write_world_log(make_world(WorldSettings(users=60, items=500, days=4, impressions=1_500, seed=3)), folder)
    return folder


@pytest.fixture
def place(log: Path, tmp_path: Path) -> Path:
    (tmp_path / "log").symlink_to(log)
    (tmp_path / "mainstem.toml").write_text('[features]\ndefinitions = "features.py"\n')
    (tmp_path / "features.py").write_text(USUAL)
    return tmp_path


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_every_feature_is_listed_with_its_meaning(place: Path) -> None:
    code, told = _run("features", "-w", str(place), "--all", "--json")
    rows = {row["name"]: row for row in json.loads(told)["features"]}
    assert code == 0
    assert rows["creator_likes"]["over"] == "creator_id"
    assert rows["creator_likes"]["windows"] == "1d, 7d"
    assert rows["alike_most"]["role"] == "cross"
    assert "creator_likes" in _run("features", "-w", str(place))[1]


def test_a_new_feature_is_back_filled_and_read_to_the_bit(place: Path) -> None:
    code, told = _run("features", "backfill", "creator_likes", "-w", str(place), "--json", "-q")
    answer = json.loads(told)
    assert code == 0
    folder = Path(answer["path"])
    values = pl.read_parquet(folder / "values.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert values.height == manifest["rows"] == answer["rows"]
    assert values["creator_likes_7d"].max() > 0
    assert (values["creator_likes_1d"] <= values["creator_likes_7d"]).all()
    assert (values["as_of"].diff().drop_nulls() >= 0).all()
    again = Path(json.loads(_run("features", "backfill", "creator_likes", "-w", str(place), "--json", "-q")[1])["path"])
    assert again == folder
    np.testing.assert_array_equal(
        pl.read_parquet(again / "values.parquet")["creator_likes_7d"], values["creator_likes_7d"]
    )
    shown = pl.read_parquet(place / "log" / "impressions.parquet")
    likes = shown.filter(pl.col("like") == 1)["item_id"][0]
    rows = json.loads(
        _run("features", "read", "creator_likes", "--user", "1", "--item", str(likes), "-w", str(place), "--json")[1]
    )
    assert rows[1]["name"] == "creator_likes_7d"
    assert rows[1]["value"] > 0
    assert rows[1]["state"] == "known"


def test_a_changed_meaning_needs_a_new_version(place: Path) -> None:
    assert _run("features", "-w", str(place), "--accept")[0] == 0
    assert json.loads((place / LOCK).read_text())["features"]["creator_likes"]["version"] == 1
    (place / "features.py").write_text(DECLARED.format(where="long_view == 1", version=1))
    with pytest.raises(FeatureError) as refused:
        _run("features", "-w", str(place))
    assert refused.value.code == "feature-005"
    with pytest.raises(FeatureError):
        _run("features", "-w", str(place), "--accept")
    (place / "features.py").write_text(DECLARED.format(where="long_view == 1", version=2))
    changes = json.loads(_run("features", "-w", str(place), "--accept", "--json")[1])
    assert changes == {"new": [], "changed": ["creator_likes"], "gone": []}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import nothing_like_it", "feature-014"),
        ("x = (", "feature-014"),
        (USUAL.replace('"creator_likes"', '"watch_ratio"'), "feature-001"),
        (USUAL.replace("like == 1", "liked == 1"), "feature-031"),
        (USUAL.replace('"1d"', '"a day"'), "feature-007"),
        (USUAL.replace('"creator_id"', '"creator"'), "feature-031"),
    ],
)
def test_wrong_definitions_are_refused(place: Path, text: str, code: str) -> None:
    (place / "features.py").write_text(text)
    with pytest.raises(FeatureError) as refused:
        _run("features", "-w", str(place))
    assert refused.value.code == code
    assert refused.value.hint


def test_missing_files_and_names_are_refused(place: Path) -> None:
    with pytest.raises(FeatureError) as refused:
        _run("features", "backfill", "creator_like", "-w", str(place))
    assert refused.value.code == "feature-017"
    assert "creator_likes" in refused.value.hint
    with pytest.raises(FeatureError) as refused:
        _run("features", "read", "kept", "--user", "1", "-w", str(place))
    assert refused.value.code == "feature-017"
    (place / LOCK).write_text("{}")
    with pytest.raises(FeatureError) as refused:
        _run("features", "-w", str(place))
    assert refused.value.code == "feature-015"
    (place / LOCK).unlink()
    (place / "features.py").unlink()
    with pytest.raises(FeatureError) as refused:
        _run("features", "-w", str(place))
    assert refused.value.code == "feature-014"


def test_what_no_ranker_reads_leaves_its_model_valid(place: Path) -> None:
    workspace = Workspace.open(place, {})
    bare = feature_set(Workspace.open(place / "log", {}))
    assert [feature.name for feature in declared_in(workspace)] == ["creator_likes"]
    assert feature_set(workspace).fingerprint == bare.fingerprint
    (place / "features.py").write_text(USUAL.replace("unit=", 'role="item", unit='))
    assert feature_set(workspace).fingerprint != bare.fingerprint
    assert feature_set(workspace).columns_of("item")[-2:] == ("creator_likes_1d", "creator_likes_7d")


PRICED = """
from mainstem.features.language import Attribute, Feature, mean
from mainstem.features.unified import FEEDBACK

price = Feature("price", Attribute("prices", "price", "item_id"), unit="EUR", empty=-1.0, about="as of the request")
look = Feature("look", Attribute("prices", "look", "item_id"))
kept_look = Feature("kept_look", Attribute("prices", "look", "kept.item_id"))
alike_look = Feature("alike_look", "max_of(dot(look, kept_look)) / 1099511627776", about="nearest kept event by look")
paid = Feature("paid", mean("price"), over="user_id", source=FEEDBACK, windows=("7d",), unit="EUR", about="mean price shown")
"""


def test_a_table_of_facts_with_times_is_read_as_of_the_request(place: Path) -> None:
    shown = pl.read_parquet(place / "log" / "impressions.parquet").sort("time_ms")
    middle = int(shown["time_ms"][shown.height // 2])
    items = shown["item_id"].unique().sort()
    rows = pl.concat(
        [
            pl.DataFrame({"item_id": items, "from_ms": [0] * len(items), "price": items * 1.0}),
            pl.DataFrame({"item_id": items, "from_ms": [middle] * len(items), "price": items * 2.0}),
        ]
    ).with_columns(look=pl.Series([[1.0, 0.0] if one % 2 else [0.0, 1.0] for one in [*items, *items]]))
    rows.write_parquet(place / "prices.parquet")
    settings = (place / "mainstem.toml").read_text()
    table = '[features.tables.prices]\npath = "prices.parquet"\nvalid_from = "from_ms"\n'
    (place / "mainstem.toml").write_text(settings + table)
    (place / "features.py").write_text(PRICED)
    found = {}
    for name in ("price", "alike_look", "paid"):
        answer = json.loads(_run("features", "backfill", name, "-w", str(place), "--json", "-q")[1])
        found[name] = pl.read_parquet(Path(answer["path"]) / "values.parquet")
    log = pl.read_parquet(place / "log" / "impressions.parquet")
    wanted = log["item_id"] * pl.when(log["time_ms"] >= middle).then(2.0).otherwise(1.0).alias("x").pipe(pl.select)["x"]
    np.testing.assert_array_equal(found["price"]["price"], wanted.to_numpy().astype(np.float32))
    assert set(found["alike_look"]["alike_look"].unique()) <= {0.0, 1.0}
    known = found["paid"].filter(pl.col("paid__state") == 0)
    assert known.height > 100
    assert known["paid"].min() > 0
    now = json.loads(
        _run("features", "read", "price", "--user", "1", "--item", str(items[0]), "-w", str(place), "--json")[1]
    )
    assert now[0]["value"] == items[0] * 2.0
    nowhere = json.loads(
        _run("features", "read", "price", "--user", "1", "--item", "999999", "-w", str(place), "--json")[1]
    )
    assert (nowhere[0]["value"], nowhere[0]["state"]) == (-1.0, "known to be empty")


@pytest.mark.parametrize(
    ("name", "key", "code"), [("items", "item_id", "feature-018"), ("prices", "id", "feature-008")]
)
def test_wrong_tables_are_refused(place: Path, name: str, key: str, code: str) -> None:
    pl.DataFrame({"item_id": [1], "price": [1.0]}).write_parquet(place / "prices.parquet")
    settings = (place / "mainstem.toml").read_text()
    (place / "mainstem.toml").write_text(
        settings + f'[features.tables.{name}]\npath = "prices.parquet"\nkey = "{key}"\n'
    )
    (place / "features.py").write_text(PRICED)
    with pytest.raises(FeatureError) as refused:
        _run("features", "backfill", "price", "-w", str(place), "-q")
    assert refused.value.code == code


LOCAL_AND_LISTS = """
from mainstem.features.language import Feature, Listed, count
from mainstem.features.unified import FEEDBACK

today = Feature("seen_today", count(), over="user_id", source=FEEDBACK, windows=("1d",), align="clock", step="1d",
                zone="local", unit="events", about="since midnight where the user is")
items = Feature("last_items", Listed("kept.item_id", 3))
often = Feature("often", Listed("kept.item_id", 2, frequent=True))
"""


def test_local_days_and_lists_are_back_filled_and_read(place: Path) -> None:
    (place / "features.py").write_text(LOCAL_AND_LISTS)
    for name, kind in (("seen_today", pl.Float32), ("last_items", pl.List), ("often", pl.List)):
        answer = json.loads(_run("features", "backfill", name, "-w", str(place), "--json", "-q")[1])
        values = pl.read_parquet(Path(answer["path"]) / "values.parquet")
        assert isinstance(values[name].dtype, kind) or values[name].dtype == kind
        assert answer["mean"][name] > 0
    user = str(pl.read_parquet(place / "log" / "impressions.parquet")["user_id"][-1])
    rows = json.loads(_run("features", "read", "last_items", "--user", user, "-w", str(place), "--json")[1])
    assert rows[0]["name"] == "last_items"
    assert 0 < len(rows[0]["value"]) <= 3
