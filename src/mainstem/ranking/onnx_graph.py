"""An ONNX graph as a list of steps over named values, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.base.heads import PREDICTIONS

OPSET: Final = 17
"""The operator set of the graph; any ONNX Runtime since 2022 reads it."""
IR_VERSION: Final = 9

INPUTS: Final = ("user", "item_row", "item", "cross", "surface")
"""What a graph is fed: ``user[1 or n, u]``, ``item_row[n]`` (-1 is an unknown item), ``item[n, i]``, ``cross[n, x]``,
``surface[1 or n]``; and ``cell[1 or n]`` where the calibration has cells."""
OUTPUT: Final = "predictions"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """One operator: ``output = op(inputs)``. Inputs are earlier outputs, the graph's inputs, weights or constants."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole graph before it is written: what is fed, what is held, what is done.

    Attributes:
        columns: How many columns each two-dimensional input has.
        vectors: The inputs of one whole number a row.
    """

    steps: tuple[Step, ...]
    held: Arrays
    columns: dict[str, int]
    vectors: tuple[str, ...]

    def in_bytes(self, facts: Mapping[str, str] | None = None) -> bytes:
        """The graph as an ONNX file's bytes. The same graph gives the same bytes.

        Args:
            facts: What the file says of itself, as metadata.

        Raises:
            ModelError: The package ``onnx`` is not installed (``model-060``).
        """
        onnx = needed("onnx", "onnx")
        helper, kinds = onnx.helper, onnx.TensorProto
        fed = [
            helper.make_tensor_value_info(name, kinds.FLOAT, [f"{name}_rows", width])
            for name, width in self.columns.items()
        ]
        fed += [helper.make_tensor_value_info(name, kinds.INT64, [f"{name}_rows"]) for name in self.vectors]
        order = {name: at for at, name in enumerate((*INPUTS, "cell"))}
        used = {name for step in self.steps for name in step.inputs}
        graph = helper.make_graph(
            [helper.make_node(s.op, s.inputs, [s.output], name=s.output, **s.attributes) for s in self.steps],
            "mainstem_ranker",
            sorted(fed, key=lambda one: order.get(one.name, len(order))),
            [helper.make_tensor_value_info(OUTPUT, kinds.FLOAT, ["rows", len(PREDICTIONS)])],
            [onnx.numpy_helper.from_array(array, name) for name, array in self.held.items() if name in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="mainstem")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, dict(sorted((facts or {}).items())))
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


def needed(package: str, extra: str) -> Any:
    """An optional package, imported when it is first needed.

    Raises:
        ModelError: It is not installed (``model-060``).
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise ModelError(
            f"the package {package.split('.')[0]!r} is not installed, and this needs it",
            code="model-060",
            hint=f"install mainstem[{extra}]",
        ) from None


def linear(values: str, weight: str, bias: str, output: str) -> tuple[Step, ...]:
    """A linear layer."""
    return (
        Step("MatMul", (values, weight), f"{output}_product"),
        Step("Add", (f"{output}_product", bias), output),
    )


def summed(values: Sequence[str], output: str) -> tuple[Step, ...]:
    """The sum of several values, the largest first so that the others are broadcast onto it."""
    steps, so_far = [], values[0]
    for at, value in enumerate(values[1:], start=1):
        name = output if at == len(values) - 1 else f"{output}_{at}"
        steps.append(Step("Add", (so_far, value), name))
        so_far = name
    return tuple(steps)
