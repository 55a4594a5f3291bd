"""The docs say what the program does: codes, verbs, settings, links, and the code blocks run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("legacy/*/README.md")])
ROOMS = (
    "config|value|control|evidence|data|feature|model|retrieval|request|remote|store|evaluate|parity|bench|serve|web|"
    "launch|capacity|program"
)
ROOMS_OF_CODE = tuple(f"{path.name}/" for path in sorted((ROOT / "src" / "mainstem").iterdir()) if path.is_dir())
BASE = re.compile(rf"^({ROOMS})-000$")


def codes_in_source() -> set[str]:
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        found |= set(re.findall(rf"\"((?:{ROOMS})-\d{{3}})\"", path.read_text()))
    return {code for code in found if not BASE.match(code)}


def test_every_error_code_has_a_heading_and_every_heading_a_code():
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    headings = re.findall(r"^### (\S+)$", page, re.M)
    raised = codes_in_source()
    assert sorted(raised - set(headings)) == [], "codes of the source without a heading in docs/reference/errors.md"
    assert sorted(set(headings) - raised) == [], "headings of docs/reference/errors.md that no code raises"
    assert len(headings) == len(set(headings))


def test_every_room_of_error_codes_is_looked_at():
    errors = (ROOT / "src" / "mainstem" / "base" / "errors.py").read_text()
    assert set(re.findall(r"code = \"(\w+)-000\"", errors)) - {"base"} <= set(ROOMS.split("|"))


def test_every_heading_of_the_error_page_is_followed_by_a_sentence():
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    bare = [
        code for code, text in re.findall(r"^### (\S+)\n(.*)$", page, re.M) if not text.rstrip().endswith((".", ")"))
    ]
    assert bare == []


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


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The generated reference pages as they would be written now."""
    code = "import sys, json; sys.path.insert(0, 'tools'); import reference; print(json.dumps(reference.pages()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_reference_pages_hold_every_setting_and_verb(made):
    text = "".join(made.values())
    for needed in ("`creator_cap`", "`shadow_share`", "`definitions`", "## mainstem data check", "## mainstem explain"):
        assert needed in text
    for name, inner in verbs().items():
        assert all(f"## mainstem {name} {one}".rstrip() + "\n" in text for one in inner), name
    rows = re.findall(r"^\| `\w+` \|.*\|\s*(.*?)\s*\|$", made["settings"], re.M)
    assert rows
    assert all(rows), "a setting has no sentence"


@pytest.mark.parametrize("page", ["features", "feature-language"])
def test_the_generated_pages_that_are_kept_are_those_that_would_be_made_now(page, made):
    held = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    assert held == made[page], f"docs/reference/{page}.md is older than the program: run `make docs`"


def test_every_declared_column_of_the_ranker_is_told(made):
    from mainstem.features.unified import UNIFIED

    for feature in UNIFIED:
        assert f"| `{feature.name}`" in made["features"]
        assert not feature.role or feature.about, feature.name


def verbs() -> dict[str, set[str]]:
    """Each verb of the command line with its inner verbs; the empty one where it runs without."""
    from typer.main import get_command

    from mainstem.cli.verbs import app

    out = {}
    for name, command in get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        out[name] = set(inner or ()) | ({""} if inner is None or command.invoke_without_command else set())
    return out


def test_every_hint_names_a_verb_that_exists():
    known = verbs()
    for path in (ROOT / "src").rglob("*.py"):
        for verb, inner in re.findall(r"hint=[^\n]*?`?mainstem ([a-z]+)(?: ([a-z]+))?", path.read_text()):
            assert verb in known, f"{path.name}: mainstem {verb}"
            assert known[verb] == {""} or inner in known[verb], f"{path.name}: mainstem {verb} {inner}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_of_the_command_line(page):
    known = verbs()
    for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```", page.read_text(), re.M | re.S):
        for verb, inner in re.findall(r"^(?:\.venv/bin/)?mainstem ([a-z]+)(?: +([a-z]+)(?= |$))?", block, re.M):
            assert verb in known, f"mainstem {verb}"
            assert "" in known[verb] or inner in known[verb], f"mainstem {verb} {inner}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_ours_that_a_page_names_is_there(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    if page.name == "CHANGELOG.md":
        return  # it also names what is gone
    roots = (ROOT, ROOT / "src" / "mainstem", ROOT / "docs", page.parent)
    for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|toml|md|sh))`", text):
        if name.split("/")[-1] != "NAME.py" and name.startswith(
            ("src/", "tests/", "docs/", "legacy/", "benchmarks/", *ROOMS_OF_CODE)
        ):
            assert any((root / name).exists() for root in roots), f"{page.name} names {name}"
