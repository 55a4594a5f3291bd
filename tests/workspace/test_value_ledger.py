"""A change of what a surface values moves one line of the settings and leaves a trace that cannot be changed unseen."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mainstem.base.clock import SetClock
from mainstem.base.errors import ConfigError, StoreError
from mainstem.cli.verbs import app
from mainstem.workspace.layout import Workspace
from mainstem.workspace.value_edit import edited
from mainstem.workspace.value_ledger import declare, ledger_file, read_ledger, set_values

FILE = """# what this is
[surfaces.base]  # all of them
value = "long_view + like_worth * like"   # in the currency of long views
weights.like_worth = 2  # two

[surfaces.feed]
extends = "base"
rules = { seen = 9, creator_cap = 1 } # inline

[surfaces.pages]
extends = "base"
[surfaces.pages.rules]
creator_cap = 1
"""
AT = SetClock(1_669_075_200_000)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "mainstem.toml").write_text(FILE)
    return Workspace.open(tmp_path)


def changed(place, surface, *assignments, owner="ana"):
    return set_values(Workspace.open(place.folder), surface, assignments, "because", owner, AT)


def test_a_set_weight_changes_one_line_and_keeps_its_comment(place):
    changed(place, "base", "weights.like_worth=3")
    assert place.file.read_text() == FILE.replace("like_worth = 2 ", "like_worth = 3 ")


@pytest.mark.parametrize(
    ("surface", "assignment", "added"),
    [
        ("feed", "weights.like_worth=3", "weights.like_worth = 3\n"),
        ("feed", "rules.seen=4", "rules = { seen = 4, creator_cap = 1 } # inline\n"),
        ("pages", "rules.seen=4", "creator_cap = 1\nseen = 4\n"),
        ("groups", "value=long_view + watch_worth * watch", "\n[surfaces.groups]\n"),
        ("base", "value=like", 'value = "like"   # in the currency of long views\n'),
    ],
)
def test_each_way_to_write_a_setting_is_changed_in_place(place, surface, assignment, added):
    more = ["weights.watch_worth=0.02 / s"] if "watch_worth" in assignment else []
    changed(place, surface, assignment, *more) if surface != "groups" else None
    text = edited(FILE, ("surfaces", surface, *assignment.split("=")[0].split(".")), "x") if surface == "groups" else ""
    assert added in (text or place.file.read_text())
    kept = [line for line in FILE.splitlines() if "#" in line and "rules" not in line and "value" not in line]
    assert set(kept) <= set((text or place.file.read_text()).splitlines())


KEYS = st.sampled_from(["a", "b", "c_1"])


@given(
    st.dictionaries(st.sampled_from(["feed", "pages"]), st.dictionaries(KEYS, st.integers(0, 9), min_size=1)),
    st.sampled_from(["feed", "pages", "new"]),
    st.lists(KEYS, min_size=1, max_size=2, unique=True),
    st.one_of(st.integers(-5, 5), st.text("ab #\"=[]'\\", max_size=6), st.floats(-3, 3), st.booleans()),
)
def test_an_edit_changes_that_key_or_nothing(tables, surface, keys, value):
    text = "".join(
        f"[surfaces.{name}] # t\n" + "".join(f"{k} = {v} # {k}\n" for k, v in table.items()) + "\n"
        for name, table in tables.items()
    )
    before, path = tomllib.loads(text), ("surfaces", surface, *keys)
    if isinstance(before.get("surfaces", {}).get(surface, {}).get(keys[0]), int) and len(keys) > 1:
        return
    after = tomllib.loads(edited(text, path, value))
    at = after["surfaces"][surface]
    for key in keys[:-1]:
        at = at[key]
    assert at.pop(keys[-1]) == value
    stood = before.get("surfaces", {}).get(surface, {})
    if len(keys) == 1:
        stood.pop(keys[0], None)
        assert after["surfaces"][surface] == stood


def test_the_ledger_says_who_when_what_and_why(place):
    told = changed(place, "base", "weights.like_worth=3")
    assert [one.kind for one in told] == ["began", "declared"]
    entry = read_ledger(place).entries[-1]
    assert (entry.when, entry.owner, entry.reason) == ("2022-11-22T00:00:00+00:00", "ana", "because")
    (change,) = entry.changes
    assert (change.key, change.before, change.after) == ("surfaces.base.weights.like_worth", 2, 3)
    assert entry.surfaces["base"]["weights"] == {"like_worth": 3}


def test_a_change_by_hand_is_named_and_can_be_declared(place):
    changed(place, "base", "weights.like_worth=3")
    place.file.write_text(place.file.read_text().replace("seen = 9", "seen = 0"))
    (found,) = read_ledger(place).undeclared
    assert (found.key, found.before, found.after) == ("surfaces.feed.rules.seen", 9, 0)
    declare(place, "an experiment", "ben", AT)
    assert read_ledger(place).undeclared == ()


def test_a_change_by_hand_is_entered_as_found_before_the_next_declared_one(place):
    changed(place, "base", "weights.like_worth=3")
    place.file.write_text(place.file.read_text().replace("seen = 9", "seen = 0"))
    told = changed(place, "base", "weights.like_worth=4")
    assert [(one.kind, len(one.changes)) for one in told] == [("found", 1), ("declared", 1)]


@pytest.mark.parametrize(("old", "new"), [(b"because", b"by whim"), (b'"after":3', b'"after":4')])
def test_an_entry_that_was_changed_is_named_and_nothing_is_added(place, old, new):
    changed(place, "base", "weights.like_worth=3")
    changed(place, "base", "weights.like_worth=5")
    file = ledger_file(place)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], lines[1].replace(old, new), lines[2]]) + b"\n")
    assert read_ledger(place).broken == 3
    before = place.file.read_text()
    with pytest.raises(StoreError) as refused:
        changed(place, "base", "weights.like_worth=6")
    assert refused.value.code == "value-010"
    assert place.file.read_text() == before


def test_an_entry_taken_out_or_torn_is_named(place):
    for worth in (3, 4, 5):
        changed(place, "base", f"weights.like_worth={worth}")
    file = ledger_file(place)
    whole = file.read_bytes()
    lines = whole.splitlines()
    file.write_bytes(b"\n".join([*lines[:2], *lines[3:]]) + b"\n")
    assert read_ledger(place).broken == 3
    file.write_bytes(whole[:-40])
    assert read_ledger(place).broken == 4
    file.write_bytes(b"\n".join(lines[:3]) + b"\n")
    assert read_ledger(place).undeclared, "the last entry taken off: the settings tell"


@pytest.mark.parametrize(
    ("surface", "assignment", "reason", "owner", "code"),
    [
        ("base", "weights.like_worth=2", "r", "o", "value-011"),
        ("fed", "count=3", "r", "o", "value-011"),
        ("base", "weights.like_worth", "r", "o", "value-011"),
        ("base", "count=3", " ", "o", "value-012"),
        ("base", "count=3", "r", "", "value-012"),
        ("base", "cuont=3", "r", "o", "config-001"),
        ("base", "value=lik", "r", "o", "value-002"),
        ("base", "value=long_view + watch", "r", "o", "value-004"),
        ("base", "value=-hate", "r", "o", "value-006"),
        ("base", "weights.like=3", "r", "o", "value-007"),
        ("base", "weights.like_worth=much", "r", "o", "value-008"),
    ],
)
def test_what_is_refused_changes_nothing(place, surface, assignment, reason, owner, code):
    with pytest.raises(ConfigError) as refused:
        set_values(place, surface, [assignment], reason, owner, AT)
    assert refused.value.code == code
    assert place.file.read_text() == FILE
    assert not ledger_file(place).exists()


def test_a_file_that_cannot_be_edited_safely_is_left_alone(place):
    place.file.write_text('[surfaces.base]\nvalue = """\nlong_view"""\n')
    before = place.file.read_text()
    with pytest.raises(ConfigError) as refused:
        changed(place, "base", "value=like")
    assert refused.value.code == "value-013"
    assert place.file.read_text() == before


@pytest.mark.parametrize("text", ["", "seed = 3\n[surfaces.base]\ncount = 5"])
def test_naming_a_built_in_surface_leaves_the_others_there(place, text):
    place.file.write_text(text)
    changed(place, "feed", "rules.seen=4")
    settings = Workspace.open(place.folder).settings
    assert {name: one.rules.seen for name, one in settings.served().items()} == {"feed": 4, "groups": 50, "pages": 50}
    assert {one.count for one in settings.served().values()} == ({5} if text else {10})


def test_the_owner_of_the_surface_stands_in(place):
    place.file.write_text(FILE.replace("[surfaces.feed]\n", '[surfaces.feed]\nowner = "feed team"\n'))
    assert changed(place, "feed", "count=5", owner="")[-1].owner == "feed team"


def test_the_commands_say_it_and_exit_with_3_when_it_does_not_hold(place):
    runner, at = CliRunner(), ["-w", str(place.folder)]
    done = runner.invoke(app, ["surface", "set", "base", "weights.like_worth=3", "--reason", "r", "--owner", "o", *at])
    assert done.exit_code == 0
    assert "2 → 3" in done.stdout
    assert runner.invoke(app, ["surface", "log", *at]).exit_code == 0
    place.file.write_text(FILE)
    undeclared = runner.invoke(app, ["surface", "log", *at])
    assert undeclared.exit_code == 3
    assert "3 → 2" in undeclared.stdout
    assert runner.invoke(app, ["surface", "declare", "--reason", "back", "--owner", "o", *at]).exit_code == 0
    assert runner.invoke(app, ["surface", "log", "--json", *at]).exit_code == 0
