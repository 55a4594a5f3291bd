"""Small models of four libraries, and the request they are asked: made without any log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mainstem.base.request import Request
from mainstem.features.unified import UNIFIED
from mainstem.testing.ranker_suite import Asked

INPUTS = ["user_lift_long_view", "item_lift_long_view", "item_lift_like", "age"]
N = 40


def table(n: int = 1_500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and an outcome that depends on two of them."""
    draw = np.random.default_rng(seed)
    x = draw.normal(0.0, 1.0, (n, len(INPUTS))).astype(np.float32)
    y = (draw.random(n) < 1.0 / (1.0 + np.exp(-(0.4 * x[:, 0] + 1.1 * x[:, 1] - 1.0)))).astype(np.int8)
    return x, y


def asked(n: int = N, seed: int = 5) -> Asked:
    """A request whose features differ from candidate to candidate."""
    draw = np.random.default_rng(seed)
    width = len(UNIFIED.columns_of("item")) + len(UNIFIED.columns_of("cross"))
    side = draw.normal(0.0, 1.0, len(UNIFIED.columns_of("user"))).astype(np.float32)
    viewer = SimpleNamespace(side=side, surface=0)
    request = Request(1, 1, "feed", 0, 10, 1)
    return Asked(request, viewer, np.arange(n, dtype=np.int64), draw.normal(0.0, 1.0, (n, width)).astype(np.float32))


def declared(folder: Path, file: str, column: int = 0, more: str = "", inputs: list[str] | None = None) -> Path:
    """A declaration beside a model."""
    path = folder / "ranker.toml"
    listed = ", ".join(f'"{name}"' for name in inputs or INPUTS)
    path.write_text(f'[ranker]\nfile = "{file}"\ninputs = [{listed}]\noutputs = {{long_view = {column}}}\n{more}\n')
    return path


def sklearn_skops(folder: Path) -> Path:
    """A logistic regression, saved with skops."""
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(*table()), folder / "model.skops")
    return declared(folder, "model.skops", 1)


def lightgbm_text(folder: Path) -> Path:
    """Boosted trees as LightGBM's own text, with the names they were trained with."""
    import lightgbm

    x, y = table()
    data = lightgbm.Dataset(x, y, feature_name=INPUTS)
    settings = {"objective": "binary", "num_threads": 1, "verbosity": -1, "num_leaves": 7}
    lightgbm.train(settings, data, 12).save_model(folder / "model.txt")
    return declared(folder, "model.txt")


def xgboost_json(folder: Path) -> Path:
    """Boosted trees as XGBoost's own JSON; a ranking objective, so the outputs are scores."""
    import xgboost

    x, y = table()
    group = np.repeat(np.arange(len(y) // 10), 10)
    settings = {"objective": "rank:ndcg", "nthread": 1, "max_depth": 3}
    xgboost.train(settings, xgboost.DMatrix(x, y, qid=group), 12).save_model(folder / "model.json")
    return declared(folder, "model.json", more='kind = "score"')


def plain_onnx(folder: Path) -> Path:
    """A linear model as a graph of another team's making."""
    import onnx
    from onnx import helper, numpy_helper

    weight = np.array([[0.4], [1.1], [0.0], [-0.2]], np.float32)
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["p"])],
        "theirs",
        [helper.make_tensor_value_info("x", floats, [None, len(weight)])],
        [helper.make_tensor_value_info("p", floats, [None, 1])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(folder / "model.onnx"))
    return declared(folder, "model.onnx")


MAKERS = {"onnx": plain_onnx, "skops": sklearn_skops, "lightgbm": lightgbm_text, "xgboost": xgboost_json}
