"""Models out of a workspace and into it: what leaves serves the same slates, what comes in is calibrated, used and watched."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from served_world import made_workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ranking"))

from brought_models import INPUTS, lightgbm_text, plain_onnx

from mainstem.base.errors import ModelError
from mainstem.ranking.onnx_network import OnnxRanker
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.workspace.bring import bring, shadow_brought
from mainstem.workspace.brought import brought_folder, load_brought, with_brought
from mainstem.workspace.export import HeadLoss, export_onnx, refuse_loss
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log
from mainstem.workspace.platform import open_stack
from mainstem.workspace.shadow import sample_requests

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return made_workspace(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def stack(workspace: Workspace) -> Stack:
    return open_stack(workspace)


@pytest.fixture(scope="module")
def brought(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    theirs = lightgbm_text(tmp_path_factory.mktemp("theirs"))
    return bring(workspace, theirs).name


def _set(workspace: Workspace, **ranker: object) -> Workspace:
    settings = msgspec.structs.replace(
        workspace.settings, ranker=msgspec.structs.replace(workspace.settings.ranker, **ranker)
    )
    return replace(workspace, settings=settings)


def test_the_exported_ranker_serves_the_same_slates(workspace: Workspace, stack: Stack) -> None:
    made = export_onnx(workspace)
    assert made.rows > 100
    assert made.difference < 1e-5
    assert set(made.cost_us) == {"numpy", "onnx"}
    card = json.loads(Path(f"{made.file}.json").read_text())
    assert card["measured"]["sha256"] == made.sha256
    assert card["outputs"][-1] == "watch"
    dry = replace(stack, memories=())
    exported = replace(dry, ranker=OnnxRanker(Path(made.file)))
    for request in sample_requests(open_log(workspace), 12, 3):
        one, other = run(dry, request), run(exported, request)
        np.testing.assert_array_equal(one.item_ids, other.item_ids)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_eight_bits_are_measured_and_refused_when_they_cost_too_much(workspace: Workspace, tmp_path: Path) -> None:
    made = export_onnx(_set(workspace, int8_loss=0.5), int8=True, out=tmp_path / "fine")
    assert made.bytes < made.bytes_full
    assert {one.head for one in made.losses} >= {"click", "long_view"}
    assert "int8" in made.cost_us
    with pytest.raises(ModelError) as refused:
        refuse_loss((HeadLoss("click", 99, 0.8, 0.004, 0.5, 0.0, 0.1),), 0.002)
    assert refused.value.code == "model-064"
    with pytest.raises(ModelError):
        refuse_loss((HeadLoss("click", 99, 0.8, 0.0, 0.5, 0.004, 0.1),), 0.002)
    refuse_loss((HeadLoss("hate", 2, None, None, None, None, 0.1),), 0.0)


def test_a_brought_model_ranks_when_the_settings_say_so(workspace: Workspace, stack: Stack, brought: str) -> None:
    assert with_brought(workspace, stack) is stack
    other = with_brought(_set(workspace, brought=brought), stack)
    request = sample_requests(open_log(workspace), 1, 3)[0]
    slate = run(replace(other, memories=()), request)
    assert slate.trace is not None
    assert slate.trace.predictions is not None
    assert np.ptp(slate.trace.predictions[:, 0]) == 0.0
    assert np.ptp(slate.trace.predictions[:, 6]) > 0.0
    diff = shadow_brought(workspace, stack, brought, 6)
    assert diff.requests >= 6


def test_what_was_learned_of_a_brought_model_is_kept(workspace: Workspace, brought: str) -> None:
    learned = json.loads((brought_folder(workspace, brought) / "learned.json").read_text())
    assert set(learned["features"]) >= {"age"}
    (head,) = learned["card"]["heads"]
    assert head["head"] == "long_view"
    assert head["log_loss_after"] <= head["log_loss_before"] + 1e-9
    assert learned["calibration"]["chosen"][-1][6] != "identity"


def test_a_brought_model_that_changed_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    theirs = plain_onnx(tmp_path)
    made = bring(workspace, theirs)
    folder = Path(made.folder)
    learned = json.loads((folder / "learned.json").read_text())
    (folder / "learned.json").write_text(json.dumps(learned | {"features": {**learned["features"], "age": "0" * 12}}))
    with pytest.raises(ModelError, match="age") as refused:
        load_brought(workspace, made.name)
    assert refused.value.code == "model-076"
    (folder / "learned.json").write_text(json.dumps(learned))
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b" ")
    with pytest.raises(ModelError) as refused:
        load_brought(workspace, made.name)
    assert refused.value.code == "model-076"
    (folder / "learned.json").write_text("{")
    with pytest.raises(ModelError) as refused:
        load_brought(workspace, made.name)
    assert refused.value.code == "model-074"


def test_a_name_nobody_brought_and_a_name_for_no_folder(workspace: Workspace, brought: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        load_brought(workspace, brought[:-1] + "x")
    assert refused.value.code == "model-074"
    assert brought in refused.value.hint
    path = plain_onnx(tmp_path)
    path.write_text(path.read_text() + 'name = "../away"\n')
    with pytest.raises(ModelError) as refused:
        bring(workspace, path)
    assert refused.value.code == "model-075"
    assert len(INPUTS) == 4


def test_the_verbs_answer(workspace: Workspace, tmp_path: Path) -> None:
    import typer
    from typer.testing import CliRunner

    from mainstem.cli import export

    app = typer.Typer()
    app.add_typer(export.app, name="export")
    app.command("bring")(export.bring)
    runner, place = CliRunner(), ["-w", str(workspace.folder), "--quiet", "--json"]
    done = runner.invoke(app, ["export", "onnx", "--out", str(tmp_path), *place])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["difference"] < 1e-5
    done = runner.invoke(app, ["bring", str(plain_onnx(tmp_path)), *place[:-1]])
    assert done.exit_code == 0, done.output
    assert 'brought = "model"' in done.stdout
