"""An exported ranker with its widest products in 8 bits: smaller and, on some processors, quicker; what it loses is measured."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from mainstem.ranking.onnx_graph import Graph, needed

WIDE: Final = ("experts_sum_product",)
"""The products that are worth it: the experts' is most of what a candidate costs. The user's side is one row a request and its
inputs are counts of very different sizes, which 8 bits with one scale would wipe out; heads and gates are tiny."""


def quantised(graph: Graph, folder: Path, facts: dict[str, str] | None = None) -> bytes:
    """The graph's wide products with weights and activations in 8 bits, scaled as the values come (dynamic quantisation).

    Args:
        graph: Best made with ``small_items``, which makes the items' table small too.
        folder: A folder for two scratch files.
        facts: What the file says of itself.

    Raises:
        ModelError: ``onnx`` or ``onnxruntime`` is not installed (``model-060``).
    """
    quantization = needed("onnxruntime.quantization", "onnx")
    source, target = folder / "wide.onnx", folder / "int8.onnx"
    source.write_bytes(graph.in_bytes(facts))
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        quantization.quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=[step.output for step in graph.steps if step.output in WIDE],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
        return target.read_bytes()
    finally:
        root.setLevel(before)
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
