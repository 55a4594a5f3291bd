"""A surface of a trained workspace: what its weights do, what a legacy formula is in them, and how far tuning comes."""

from __future__ import annotations

import json

import msgspec
import pytest
from served_world import made_workspace
from typer.testing import CliRunner

from mainstem.base.errors import ConfigError, EvidenceError, RequestError
from mainstem.base.settings import parse_settings
from mainstem.cli.verbs import app
from mainstem.stacks.neutral import surface_values
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.train import train_legacy
from mainstem.workspace.value_ledger import set_values
from mainstem.workspace.value_pull import pull_of
from mainstem.workspace.value_translation import translate
from mainstem.workspace.value_tuning import tune_surface, world_of

pytestmark = pytest.mark.slow

VALUE = "long_view_worth * long_view + like_worth * like + hate_worth * hate + watch_worth * watch"
WEIGHTS = ["long_view_worth=1.0", "like_worth=0.2", "hate_worth=-1.0", "watch_worth=0.0 / s"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    workspace = made_workspace(tmp_path_factory.mktemp("values"))
    train_legacy(workspace, split(workspace, open_log(workspace)).validation_day, seed=3)
    set_values(workspace, "feed", [f"value={VALUE}", *(f"weights.{one}" for one in WEIGHTS)], "translated", "ana")
    return Workspace.open(workspace.folder)


def test_the_pull_of_a_served_surface_adds_up_and_is_kept_as_evidence(place):
    found = pull_of(place, "feed", 30)
    assert sum(one.share for one in found.terms) == pytest.approx(1)
    assert [one.term for one in found.terms] == VALUE.split(" + ")
    assert found.at_rates is not None
    assert any("watch_worth * watch moves nothing" in one for one in found.warnings)
    assert place.read_evidence("pull_feed")["surface"] == "feed"
    with pytest.raises(RequestError):
        pull_of(place, "fed", 30)


@pytest.mark.parametrize(
    ("surface", "source", "form"), [("feed", "content-first", "additive"), ("pages", "interest-first", "log-additive")]
)
def test_a_legacy_formula_is_reproduced_on_its_own_predictions(place, surface, source, form):
    found = translate(place, surface, source, requests=40)
    own = max(
        (one for one in found.reached if one.predictions != "unified" and one.written), key=lambda one: one.tau[0]
    )
    assert own.form.startswith(form)
    assert own.tau[0] > 0.99
    assert (found.carried is not None) == (source == "content-first")
    settings = parse_settings(found.as_toml().split("\n\n")[-1])
    assert surface_values(settings)[surface].weighed == set(found.weights)
    if found.carried:
        weights = found.carried[1]
        assert weights["hate_worth"] == pytest.approx(-4.0)
        assert weights["follow_worth"] == pytest.approx(1.0)


def test_fatigue_is_named_as_what_a_formula_lacks(place):
    found = translate(place, "pages", "interest-first", requests=40, slates_before=2)
    by_form = {one.form: one for one in found.reached if one.predictions != "unified"}
    assert by_form["log-additive and its fatigue"].tau[0] > 0.99 > by_form["log-additive"].tau[0]


def test_weights_that_drown_the_average_item_are_told_when_they_are_set(place):
    at = ["-w", str(place.folder)]
    said = ["--reason", "r", "--owner", "o", *at]
    done = CliRunner().invoke(app, ["surface", "set", "feed", "weights.long_view_worth=-1.0", *said])
    assert done.exit_code == 0
    assert "the average item is worth -" in done.stderr
    assert "base rates: hate" in done.stderr
    back = CliRunner().invoke(app, ["surface", "set", "feed", "weights.long_view_worth=1.0", *said])
    assert "average item" not in back.stderr


def test_an_unknown_legacy_stack_is_refused(place):
    with pytest.raises(ConfigError) as refused:
        translate(place, "feed", "content-frist")
    assert refused.value.code == "value-022"


def test_tuning_comes_near_what_the_truth_reaches_and_again_the_same(place):
    once, again = (tune_surface(place, "feed", ["hate <= 1.2 * start"], 25, 1, 25, perfect=True) for _ in range(2))
    assert msgspec.json.encode(once) == msgspec.json.encode(again)
    assert once.best is not None
    assert once.best.value > once.start.value
    assert once.closed is not None
    assert once.closed > 0.5
    assert place.read_evidence("tuning_feed")["sentence"] == once.sentence
    assert once.written["watch_worth"].endswith("/ s")


def test_a_real_log_has_no_truth_to_ask(place):
    log = open_log(place)
    real = type(log)(log.folder, msgspec.structs.replace(log.manifest, made=False))
    with pytest.raises(EvidenceError) as refused:
        world_of(real)
    assert refused.value.code == "value-032"


def test_the_commands_print_what_the_steps_found(place):
    runner, at = CliRunner(), ["-q", "-w", str(place.folder)]
    pulled = runner.invoke(app, ["surface", "pull", "feed", "--requests", "10", *at])
    assert pulled.exit_code == 0
    assert "of first 10 moved" in pulled.stdout
    tuned = runner.invoke(app, ["surface", "tune", "feed", "--evaluations", "12", "--requests", "10", "--json", *at])
    assert tuned.exit_code == 0, tuned.output
    assert json.loads(tuned.stdout)["evaluations"] == 12
    assert place.evidence("tuning_feed").with_suffix(".svg").read_text().startswith("<svg")
    told = runner.invoke(app, ["surface", "translate", "feed", "--from", "content-first", "--requests", "40", *at])
    assert "content-first's formula as it is" in told.stdout
