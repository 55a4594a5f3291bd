"""The docs say what the program does: codes, verbs, settings, links, and the code blocks run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("legacy/*/README.md")])
ROOMS = "config|value|data|model|request|remote|store|evaluate|parity|serve|web"
BASE = re.compile(rf"^({ROOMS})-000$")


def codes_in_source() -> set[str]:
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        found |= set(re.findall(rf"\"((?:{ROOMS})-\d{{3}})\"", path.read_text()))
    return {code for code in found if not BASE.match(code)}


def test_every_error_code_has_a_heading_and_every_heading_a_code():
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    assert set(re.findall(r"^### (\S+)$", page, re.M)) == codes_in_source()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_of_ours_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_runs(page, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    if blocks:
        script = tmp_path / "blocks.py"
        script.write_text("\n".join(blocks))
        done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_reference_pages_can_be_made_and_hold_every_setting_and_verb():
    code = "import sys; sys.path.insert(0, 'tools'); import reference; print(reference.settings_page() + reference.cli_page())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for needed in (
        "`creator_cap`",
        "`shadow_share`",
        "## mainstem data check",
        "## mainstem serve",
        "## mainstem explain",
    ):
        assert needed in done.stdout
    rows = re.findall(r"^\| `\w+` \|.*\|\s*(.*?)\s*\|$", done.stdout, re.M)
    assert rows
    assert all(rows), "a setting has no sentence"


def test_every_hint_names_a_verb_that_exists():
    from typer.main import get_command

    from mainstem.cli.verbs import app

    root = get_command(app)
    verbs = {name: getattr(command, "commands", None) for name, command in root.commands.items()}
    for path in (ROOT / "src").rglob("*.py"):
        for verb, inner in re.findall(r"hint=[^\n]*?`?mainstem ([a-z]+)(?: ([a-z]+))?", path.read_text()):
            assert verb in verbs, f"{path.name}: mainstem {verb}"
            assert verbs[verb] is None or inner in verbs[verb], f"{path.name}: mainstem {verb} {inner}"
