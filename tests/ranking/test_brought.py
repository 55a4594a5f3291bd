"""Models other teams bring: every format ranks, nothing unfit gets in, and a refusal says what to do."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from brought_models import INPUTS, MAKERS, asked, declared, lightgbm_text, plain_onnx, sklearn_skops, table

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.features.unified import UNIFIED
from mainstem.ranking.brought import BroughtRanker, Declaration, Fitted, nothing_fitted, read_brought
from mainstem.ranking.brought_kinds import Scorer, read_scorer
from mainstem.ranking.calibrate import Calibrators, fit_calibrators
from mainstem.testing.ranker_suite import Asked, RankerSuite

LONG_VIEW = HEADS.index("long_view")


@pytest.fixture(scope="module", params=MAKERS)
def brought(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BroughtRanker:
    folder = tmp_path_factory.mktemp(request.param)
    return read_brought(MAKERS[request.param](folder), UNIFIED)


class TestBrought(RankerSuite):
    @pytest.fixture
    def ranker(self, brought: BroughtRanker) -> BroughtRanker:
        return brought

    @pytest.fixture
    def asked(self) -> Asked:
        return asked()


def _side(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The platform's arrays in which the four inputs hold these values."""
    groups = [np.zeros((len(x), len(UNIFIED.columns_of(role))), np.float32) for role in ("user", "item", "cross")]
    for at, name in enumerate(INPUTS):
        for group, role in zip(groups, ("user", "item", "cross"), strict=True):
            if name in UNIFIED.columns_of(role):  # type: ignore[arg-type]
                group[:, UNIFIED.columns_of(role).index(name)] = x[:, at]  # type: ignore[arg-type]
    return groups[0], groups[1], groups[2]


def test_what_the_library_says_is_what_is_ranked(tmp_path: Path) -> None:
    import lightgbm

    ranker, (x, _) = read_brought(lightgbm_text(tmp_path), UNIFIED), table(200, 9)
    theirs = lightgbm.Booster(model_file=str(tmp_path / "model.txt")).predict(x)
    user, item, cross = _side(x)
    got = ranker.raw(user, item, cross)
    np.testing.assert_allclose(got[:, LONG_VIEW], theirs, atol=1e-6)  # type: ignore[arg-type]
    assert ranker.missing == tuple(head for head in PREDICTIONS if head != "long_view")
    assert len(np.unique(got[:, :LONG_VIEW], axis=0)) == 1


def test_scores_become_probabilities_that_come_true(tmp_path: Path) -> None:
    ranker, (x, y) = read_brought(MAKERS["xgboost"](tmp_path), UNIFIED), table(4_000, 3)
    user, item, cross = _side(x)
    start = Fitted(nothing_fitted().fill, ranker.spread(user, item, cross, 1.5))
    scaled = ranker.with_fitted(start, UNIFIED)
    raw = scaled.raw(user, item, cross)
    outcomes = np.full((len(y), len(HEADS)), -1, np.int8)
    outcomes[:, LONG_VIEW] = y
    place = np.zeros(len(y), np.int8)
    maps = Calibrators.from_dict(fit_calibrators(raw, outcomes, place))
    final = ranker.with_fitted(Fitted(start.fill, start.scales, maps), UNIFIED)
    got = final.scores(user, np.arange(len(y)), item, cross, place)
    assert got[:, LONG_VIEW].sum() / y.sum() == pytest.approx(1.0, abs=0.02)
    assert (np.diff(got[np.argsort(raw[:, LONG_VIEW], kind="stable"), LONG_VIEW]) >= 0).all()
    np.testing.assert_array_equal(got[:, 0], raw[:, 0])


def test_a_json_declaration_is_one_too(tmp_path: Path) -> None:
    plain_onnx(tmp_path)
    path = tmp_path / "ranker.json"
    path.write_text(json.dumps({"file": "model.onnx", "inputs": INPUTS, "outputs": {"click": 0, "long_view": 0}}))
    assert "click" not in read_brought(path, UNIFIED).missing


def _refused(path: Path) -> ModelError:
    with pytest.raises(ModelError) as refused:
        read_brought(path, UNIFIED)
    assert refused.value.hint
    return refused.value


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.skops", "model.txt"])
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"weights": [1.0]}))
    refused = _refused(declared(tmp_path, name))
    assert refused.code == "model-065"
    assert "skops.io.dump" in refused.hint


DECLARATIONS = {
    "no toml": ("[ranker", "model-069"),
    "unknown key": ('file = "model.onnx"\ninputs = ["age"]\noutputs = {click = 0}\nshoe = 1', "model-069"),
    "a path": ('file = "../model.onnx"\ninputs = ["age"]\noutputs = {click = 0}', "model-069"),
    "unknown kind": ('file = "model.onnx"\ninputs = ["age"]\noutputs = {click = 0}\nkind = "rank"', "model-069"),
    "wrong type": ('file = "model.onnx"\ninputs = "age"\noutputs = {click = 0}', "model-069"),
    "unknown head": ('file = "model.onnx"\ninputs = ["age"]\noutputs = {clikc = 0}', "model-070"),
    "no outputs": ('file = "model.onnx"\ninputs = ["age"]\noutputs = {}', "model-070"),
    "negative output": ('file = "model.onnx"\ninputs = ["age"]\noutputs = {click = -1}', "model-070"),
    "unknown input": ('file = "model.onnx"\ninputs = ["item_lift_long_veiw"]\noutputs = {click = 0}', "model-071"),
    "too few inputs": ('file = "model.onnx"\ninputs = ["age"]\noutputs = {click = 0}', "model-072"),
    "no such output": (
        'file = "model.onnx"\ninputs = ["age", "age", "age", "age"]\noutputs = {click = 3}',
        "model-073",
    ),
    "no file": ('file = "gone.onnx"\ninputs = ["age"]\noutputs = {click = 0}', "model-061"),
    "no format": ('file = "ranker.toml"\ninputs = ["age"]\noutputs = {click = 0}', "model-066"),
    "wrong format": ('file = "model.onnx"\nformat = "xgboost"\ninputs = ["age"]\noutputs = {click = 0}', "model-061"),
}


@pytest.mark.parametrize("case", DECLARATIONS)
def test_a_declaration_that_does_not_fit_is_refused_by_code(tmp_path: Path, case: str) -> None:
    plain_onnx(tmp_path)
    text, code = DECLARATIONS[case]
    (tmp_path / "ranker.toml").write_text(text)
    refused = _refused(tmp_path / "ranker.toml")
    assert refused.code == code
    if case == "unknown input":
        assert "'item_lift_long_view'" in refused.hint
    if case == "unknown head":
        assert "'click'" in refused.hint


@pytest.mark.parametrize("name", ["model.onnx", "model.skops", "model.txt", "model.json", "model.ubj"])
def test_a_corrupt_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind" * 20)
    assert _refused(declared(tmp_path, name)).code == "model-061"


def test_inputs_in_another_order_than_the_models_own_are_refused(tmp_path: Path) -> None:
    lightgbm_text(tmp_path)
    swapped = [INPUTS[1], INPUTS[0], *INPUTS[2:]]
    refused = _refused(declared(tmp_path, "model.txt", inputs=swapped))
    assert refused.code == "model-072"
    assert "item_lift_long_view" in refused.message


def test_types_nobody_vouched_for_are_refused(tmp_path: Path) -> None:
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(make_pipeline(FunctionTransformer(np.linalg.det)), tmp_path / "model.skops")
    assert _refused(declared(tmp_path, "model.skops")).code == "model-067"


def test_a_score_that_was_declared_a_probability_is_refused(tmp_path: Path) -> None:
    MAKERS["xgboost"](tmp_path)
    refused = _refused(declared(tmp_path, "model.json"))
    assert refused.code == "model-073"
    assert 'kind = "score"' in refused.message


UNFIT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "not finite": lambda x: np.full((len(x), 1), np.nan),
    "differs from call to call": lambda x: np.random.default_rng().random((len(x), 1)),
    "depends on the other candidates": lambda x: np.full((len(x), 1), 1.0 / len(x)),
    "answers": lambda x: np.full((len(x) + 1, 1), 0.5),
    "fails on made rows": lambda x: 1 / 0,  # type: ignore[return-value]
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_model_that_breaks_a_rankers_promise_is_refused(what: str) -> None:
    said = Declaration(file="theirs", inputs=INPUTS, outputs={"long_view": 0})
    with pytest.raises(ModelError, match=what) as refused:
        BroughtRanker(said, Scorer("onnx", UNFIT[what], None), UNIFIED)
    assert refused.value.code == "model-073"


def test_a_classifier_that_wants_a_data_frame_is_told_how_to_be_trained(tmp_path: Path) -> None:
    import polars as pl
    import skops.io
    from sklearn.linear_model import LogisticRegression

    x, y = table(200)
    model = LogisticRegression().fit(pl.DataFrame(x, schema=INPUTS), y)
    skops.io.dump(model, tmp_path / "model.skops")
    assert _refused(declared(tmp_path, "model.skops", 1)).code == "model-068"


def test_several_outcomes_of_one_forest_are_one_column_each(tmp_path: Path) -> None:
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    x, y = table(200)
    forest = RandomForestClassifier(3, max_depth=3, random_state=0).fit(x, np.stack([y, 1 - y], axis=1))
    skops.io.dump(forest, tmp_path / "model.skops")
    got = read_scorer(tmp_path / "model.skops").score(x)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-6)


def test_skops_is_read_without_running_anything(tmp_path: Path) -> None:
    assert read_brought(sklearn_skops(tmp_path), UNIFIED).format == "skops"
