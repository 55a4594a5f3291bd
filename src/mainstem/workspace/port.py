"""What moving both legacy programs into the one engine removes, counted from the files themselves."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.programs import MODULES, programs_folder

ROOMS: Final = ("retrieval", "ranking", "value", "control")
"""The rooms the parts of a stack lie in, apart from its features."""
FEATURES: Final = (
    *("unified", "unified_tables", "unified_state", "timeline", "item_columns"),
    *("catalog", "statics", "content", "factors", "feedback"),
)
"""What the unified stack declares and adapts; the platform that computes declared features serves any stack."""
UNIFIED: Final = ("mainstem.stacks.unified", "mainstem.workspace.train")
"""Where the unified stack is served and trained from."""

_SILENT: Final = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


@dataclass(frozen=True, slots=True)
class Counted:
    """Before and after one step of the migration.

    ``before`` is both programs as they are; ``ported`` both as configurations of the engine; ``unified`` one stack instead
    of both.
    """

    what: str
    before: int
    ported: int
    unified: int


def count_port(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a thing that is counted: lines of code, processes, servers' routes, models, artefact files and their bytes.

    Lines are lines with code on them; docstrings and comments are not counted. The runner, the log, the server and the platform
    that computes declared features, which serve any stack, are counted in no column but the first, where each program has its
    own. ``unified`` counts what one stack instead of both is served and trained from: every module its stack and its training
    import, directly or not, from the rooms of a stack's parts. Since its retrieval and its ranker are learned jointly, those are
    more lines than both programs have; what it removes are processes, pipelines and trained models.
    """
    programs = programs_folder()
    legacy = [_code_lines((programs / MODULES[name]).rglob("*.py")) for name in LEGACY]
    folder = Path(__file__).resolve().parents[1]
    parts = {module: sorted(folder.rglob(f"{module}*.py")) for module in MODULES.values()}
    ported = {file for files in parts.values() for file in files}
    rooms = {folder / room for room in ROOMS}
    own = {file for file in _imported(UNIFIED, folder.parent) if rooms.intersection(file.parents)} - ported
    own |= {folder / "features" / f"{name}.py" for name in FEATURES}
    own |= {folder / "stacks" / name for name in ("unified.py", "viewer.py", "ranker.py")}
    models = {name: _files(workspace.legacy_model(name)) for name in LEGACY}
    unified = _files(workspace.unified_model)
    rows = [
        Counted("lines of code", sum(legacy), sum(_code_lines(one) for one in parts.values()), _code_lines(own)),
        Counted("processes that serve", len(LEGACY), 0, 0),
        Counted("feature pipelines", 2, 2, 1),
        Counted("models trained", _networks(models), _networks(models), 1),
        Counted("artefact files", sum(map(len, models.values())), sum(map(len, models.values())), len(unified)),
        Counted("artefact bytes", _bytes(models), _bytes(models), sum(one.stat().st_size for one in unified)),
    ]
    return [{"what": one.what, "before": one.before, "ported": one.ported, "unified": one.unified} for one in rows]


def _imported(modules: Iterable[str], source: Path) -> set[Path]:
    """Files of the package that modules import, directly or through others, read from their text."""
    found: set[Path] = set()
    ahead = list(modules)
    while ahead:
        path = source.joinpath(*ahead.pop().split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file in found or not file.is_file():
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mainstem":
                ahead += [str(node.module), *(f"{node.module}.{name.name}" for name in node.names)]
            elif isinstance(node, ast.Import):
                ahead += [name.name for name in node.names if name.name.split(".")[0] == "mainstem"]
    return found


def _code_lines(files: Iterable[Path]) -> int:
    return sum(len(_lines_with_code(file.read_text(encoding="utf-8"))) for file in files)


def _lines_with_code(text: str) -> set[int]:
    """Numbers of the lines that hold code: not blank, not comment, not docstring."""
    held: set[int] = set()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _SILENT or token.type == tokenize.ENDMARKER:
            begins = begins or token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
            continue
        if not (begins and token.type == tokenize.STRING):
            held.update(range(token.start[0], token.end[0] + 1))
        begins = False
    return held


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _networks(models: dict[str, list[Path]]) -> int:
    """Trained models among the artefacts: one for each set of weights a program stores."""
    return sum(max(1, _sets_of_weights(files)) for files in models.values())


def _sets_of_weights(files: list[Path]) -> int:
    """First-layer weights among the stored arrays: each belongs to one network."""
    names = [name for file in files if file.suffix == ".npz" for name in np.load(file, allow_pickle=False).files]
    return sum(name.split("/")[-1] in ("w1", "hidden") for name in names)


def _bytes(models: dict[str, list[Path]]) -> int:
    return sum(file.stat().st_size for files in models.values() for file in files)
