"""Reads the files other teams keep their models in: ONNX, scikit-learn (skops), LightGBM, XGBoost. Never a pickle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.ranking.onnx_graph import needed
from mainstem.ranking.onnx_network import session_of

Array = NDArray[np.float32]

ENDINGS: Final = {
    ".onnx": "onnx",
    ".skops": "skops",
    ".txt": "lightgbm",
    ".lgb": "lightgbm",
    ".json": "xgboost",
    ".ubj": "xgboost",
}
"""Which format a file's ending stands for when the declaration does not say."""

_PICKLES: Final = (".pkl", ".pickle", ".joblib", ".sav", ".model.pkl")
_VOUCHED: Final = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
"""Arrays of trees, which skops leaves to its caller to vouch for: they hold numbers and run nothing of the file's."""
_NAMELESS: Final = ("Column_", "f", "x", "feature_")


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model that was read.

    Attributes:
        score: Inputs to outputs, ``[n, k]`` to ``[n, m]``.
        width: How many inputs it wants; None where the file does not say.
        names: The names it was trained with; None where it was trained without.
    """

    format: str
    score: Callable[[Array], NDArray[Any]]
    width: int | None
    names: tuple[str, ...] | None = None


def read_scorer(file: Path, format: str = "") -> Scorer:
    """The model in a file.

    Args:
        file: Where it lies.
        format: onnx, skops, lightgbm or xgboost; by the file's ending when empty.

    Raises:
        ModelError: It is a pickle (``model-065``), of no known format (``model-066``), cannot be read (``model-061``), holds code
            that nobody vouched for (``model-067``), or its library is not installed (``model-060``).
    """
    if not file.is_file():
        raise ModelError(
            f"there is no file {file.name!r} beside the declaration", code="model-061", hint="[ranker] file"
        )
    refuse_pickle(file)
    kind = format or ENDINGS.get(file.suffix.lower(), "")
    reader = _READERS.get(kind)
    if reader is None:
        raise ModelError(
            f"found {kind or file.suffix or 'no ending'!r} for {file.name!r}, expected one of {', '.join(_READERS)}",
            code="model-066",
            hint=f'say it in the declaration: format = "{next(iter(_READERS))}"',
        )
    try:
        return reader(file)
    except ModelError:
        raise
    except Exception as error:  # every library has errors of its own, and corrupt files raise nearly anything
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{file.name!r} cannot be read as {kind}: {said[:200]}",
            code="model-061",
            hint="write it again with the library's own save, or name its format in the declaration",
        ) from None


def refuse_pickle(file: Path) -> None:
    """A pickle runs whatever it likes when it is read, so none ever is.

    Raises:
        ModelError: The file is one, by its ending or its first bytes (``model-065``).
    """
    with file.open("rb") as opened:
        start = opened.read(2)
    pickled = len(start) == 2 and start[0] == 0x80 and start[1] <= 5
    if pickled or file.name.lower().endswith(_PICKLES):
        raise ModelError(
            f"{file.name!r} is a pickle: reading one runs whatever code is in it, so it is not read",
            code="model-065",
            hint="save it as data instead: skops.io.dump(model, 'model.skops'), or export it to ONNX",
        )


def _onnx(file: Path) -> Scorer:
    session = session_of(file, f"{file.name!r}")
    fed = session.get_inputs()
    wide = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    if len(fed) != 1 or fed[0].type not in wide or len(fed[0].shape or ()) != 2:
        told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in fed)
        raise ModelError(
            f"{file.name!r} takes {told}, expected one table of float or double, a row a candidate",
            code="model-068",
            hint="export it with one input of shape [None, number of inputs]",
        )
    outputs = [one.name for one in session.get_outputs() if one.type in wide]
    if not outputs:
        told = ", ".join(f"{one.name} {one.type}" for one in session.get_outputs())
        raise ModelError(
            f"{file.name!r} answers {told}, expected at least one table of numbers",
            code="model-068",
            hint="for scikit-learn: convert with options={'zipmap': False}",
        )
    name, dtype = fed[0].name, wide[fed[0].type]

    def score(inputs: Array) -> NDArray[Any]:
        answers = session.run(outputs, {name: inputs.astype(dtype, copy=False)})
        return np.concatenate([np.reshape(one, (len(inputs), -1)) for one in answers], axis=1)

    width = fed[0].shape[1]
    return Scorer("onnx", score, width if isinstance(width, int) else None)


def _skops(file: Path) -> Scorer:
    io = needed("skops.io", "brought")
    unknown = set(io.get_untrusted_types(file=file)) - set(_VOUCHED)
    if unknown:
        raise ModelError(
            f"{file.name!r} holds types that nobody vouched for: {', '.join(sorted(unknown)[:5])}",
            code="model-067",
            hint="keep to estimators of scikit-learn, or export the model to ONNX",
        )
    model = io.load(file, trusted=list(_VOUCHED))
    predict = getattr(model, "predict_proba", None) or model.predict

    def score(inputs: Array) -> NDArray[Any]:
        answer = predict(inputs)
        if isinstance(answer, list):  # several outcomes at once: the chance of each being the last class
            answer = np.stack([one[:, -1] for one in answer], axis=1)
        return np.reshape(answer, (len(inputs), -1))

    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        raise ModelError(
            f"{file.name!r} was trained on a data frame and asks for its column names on every call",
            code="model-068",
            hint="train it on frame.to_numpy() and list the columns in the declaration's inputs",
        )
    return Scorer("skops", score, getattr(model, "n_features_in_", None))


def _lightgbm(file: Path) -> Scorer:
    lightgbm = needed("lightgbm", "brought")
    booster = lightgbm.Booster(model_file=str(file))

    def score(inputs: Array) -> NDArray[Any]:
        return np.reshape(booster.predict(inputs, num_threads=1), (len(inputs), -1))

    return Scorer("lightgbm", score, booster.num_feature(), _named(booster.feature_name()))


def _xgboost(file: Path) -> Scorer:
    xgboost = needed("xgboost", "brought")
    booster = xgboost.Booster()
    booster.load_model(str(file))
    booster.set_param({"nthread": 1})

    def score(inputs: Array) -> NDArray[Any]:
        return np.reshape(booster.inplace_predict(inputs, validate_features=False), (len(inputs), -1))

    return Scorer("xgboost", score, booster.num_features(), _named(booster.feature_names))


_READERS: Final[dict[str, Callable[[Path], Scorer]]] = {
    "onnx": _onnx,
    "skops": _skops,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
}


def _named(names: list[str] | None) -> tuple[str, ...] | None:
    """The names a model was trained with; None for those a library makes up itself."""
    if not names or all(one.startswith(_NAMELESS) and one.lstrip("Columnfeatrx_").isdigit() for one in names):
        return None
    return tuple(names)
