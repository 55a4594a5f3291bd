"""The house keeps its floors, the legacy programs stay strangers, and the command line starts light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"content_first": {"mainstem", "interest_first"}, "interest_first": {"mainstem", "content_first"}}


def imports_of(folder: Path) -> set[str]:
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_legacy_program_imports_nothing_of_ours_and_nothing_of_the_other(program):
    assert not imports_of(ROOT / "legacy" / program) & PROGRAMS[program]


def test_mainstem_imports_no_legacy_program():
    assert not imports_of(ROOT / "src") & set(PROGRAMS)


def code_lines(folder: Path) -> list[tuple[str, ...]]:
    """Every run of six stripped lines of code that are long enough to mean something."""
    runs = []
    for path in folder.rglob("*.py"):
        lines = [line.strip() for line in path.read_text().splitlines()]
        lines = [line for line in lines if len(line) > 12 and not line.startswith(("#", "import ", "from ", '"""'))]
        runs += [tuple(lines[at : at + 6]) for at in range(len(lines) - 5)]
    return runs


def test_the_two_programs_and_mainstem_share_no_code():
    c, i = (set(code_lines(ROOT / "legacy" / program)) for program in PROGRAMS)
    ours = set(code_lines(ROOT / "src"))
    assert not c & i
    assert not c & ours
    assert not i & ours


def test_imports_point_down():
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("heavy", ["numpy", "polars", "torch", "starlette", "altair", "httpx2"])
def test_help_needs_nothing_heavy(heavy):
    code = f"import sys, mainstem.cli, mainstem.cli.verbs; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "module", ["mainstem.stacks.unified", "mainstem.workspace.platform", "mainstem.api.app", "mainstem.web.routes"]
)
def test_what_serves_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
