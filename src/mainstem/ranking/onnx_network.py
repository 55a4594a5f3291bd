"""An exported ranker as a ranker again: ONNX Runtime in place of the numpy products, the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.base.heads import PREDICTIONS
from mainstem.base.request import Floats, Request, Rows
from mainstem.ranking.onnx_graph import INPUTS, OUTPUT, needed

Array = NDArray[np.float32]


def session_of(model: bytes | Path, what: str) -> Any:
    """An ONNX Runtime session on one thread; many threads may use it at once.

    Args:
        model: A file or its bytes.
        what: How an error calls it.

    Raises:
        ModelError: ``onnxruntime`` is not installed (``model-060``), or cannot read the file (``model-061``).
    """
    runtime = needed("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        data = model if isinstance(model, bytes) else model.read_bytes()
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no class, and a corrupt file may raise any of them
        raise ModelError(
            f"{what} cannot be read as an ONNX model: {str(error).splitlines()[0][:200]}",
            code="model-061",
            hint="write it again: `mainstem export onnx`",
        ) from None


class OnnxRanker:
    """A graph that ``export_onnx`` wrote, as the ranker of a stack: network and calibration in one.

    Args:
        model: The file or its bytes.

    Raises:
        ModelError: It cannot be read (``model-061``), or is no graph of ours (``model-062``).
    """

    heads = PREDICTIONS

    def __init__(self, model: bytes | Path) -> None:
        self._session = session_of(model, "the exported ranker")
        fed = {one.name: one.shape for one in self._session.get_inputs()}
        wrong = sorted(set(INPUTS) - set(fed)) + sorted(set(fed) - {*INPUTS, "cell"})
        if wrong or [one.name for one in self._session.get_outputs()] != [OUTPUT]:
            raise ModelError(
                f"the ONNX model's inputs are {', '.join(fed)}, expected {', '.join(INPUTS)} of an exported ranker",
                code="model-062",
                hint="another team's model is declared and brought: `mainstem bring`",
            )
        self._celled = "cell" in fed
        self.item_columns: int = fed["item"][1]
        self.facts: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self._catalog = int(self.facts.get("items", "0"))

    def scores(
        self,
        user: Array,
        item_rows: NDArray[np.integer[Any]],
        item: Array,
        cross: Array,
        surface: int | NDArray[np.integer[Any]] = -1,
        cell: int | NDArray[np.integer[Any]] = -1,
    ) -> Array:
        """Calibrated predictions. Shapes: ``user[u]`` or ``[n, u]``, ``item[n, i]``, ``cross[n, x]`` to ``[n, 8]``."""
        rows = np.asarray(item_rows, np.int64)
        if not len(rows):
            return np.empty((0, len(PREDICTIONS)), np.float32)
        fed: dict[str, NDArray[Any]] = {
            "user": np.atleast_2d(np.asarray(user, np.float32)),
            # An item the exported catalog does not hold yet is an unknown item.
            "item_row": np.where(rows < self._catalog, rows, -1) if self._catalog else rows,
            "item": np.asarray(item, np.float32),
            "cross": np.asarray(cross, np.float32),
            "surface": np.atleast_1d(np.asarray(surface, np.int64)),
        }
        if self._celled:
            fed["cell"] = np.atleast_1d(np.asarray(cell, np.int64))
        return self._session.run([OUTPUT], fed)[0]

    def predict(self, request: Request, user: Any, rows: Rows, features: Floats) -> Floats:
        """One row of predictions a candidate. Shapes: [n, 8]."""
        item, cross = features[:, : self.item_columns], features[:, self.item_columns :]
        return self.scores(user.side, rows, item, cross, user.surface, request.scenario)
