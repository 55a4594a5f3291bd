"""Where to compute: on the processor, or on a GPU when there is one and settings allow it."""

from __future__ import annotations

from typing import Literal

import torch

from mainstem.base.errors import RetrievalError

Where = Literal["cpu", "auto", "gpu"]


def compute_on(where: Where = "cpu") -> torch.device:
    """The device a training runs on.

    Args:
        where: ``cpu`` always gives the same bytes for the same seed; ``auto`` takes a GPU where torch sees one; ``gpu`` wants
            one.

    Raises:
        RetrievalError: ``retrieval-052`` when a GPU is wanted and torch sees none, or the setting is another word.
    """
    if where not in ("cpu", "auto", "gpu"):
        raise RetrievalError(
            f"found {where!r} as where to compute, expected cpu, auto or gpu",
            code="retrieval-052",
            hint="auto takes a GPU where there is one",
        )
    if where == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if where == "gpu":
        build = "its CPU build" if torch.version.cuda is None else "a build with CUDA, and no device that it can use"
        raise RetrievalError(
            f"found no GPU (torch {torch.__version__} is {build}), expected one because the setting says gpu",
            code="retrieval-052",
            hint="set auto or cpu, or install torch's CUDA build where a GPU is (docs/guides/gpu.md)",
        )
    return torch.device("cpu")
