"""The command line: answers on stdout, coded errors with hints, and exit codes a pipeline can gate on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest


def mainstem(*words: str, cwd=None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mainstem", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1", **environment},
        timeout=120,
    )


def test_help_names_every_verb():
    told = mainstem("--help").stdout
    for verb in ("demo", "init", "train", "compare", "shadow", "explain", "serve", "port", "doctor", "data", "config"):
        assert verb in told


def test_an_unknown_verb_is_a_usage_error():
    assert mainstem("dmo").returncode == 2


def test_init_makes_a_workspace_once(tmp_path):
    first = mainstem("init", str(tmp_path / "feed"))
    again = mainstem("init", str(tmp_path / "feed"))
    assert first.returncode == 0
    assert (tmp_path / "feed" / "mainstem.toml").is_file()
    assert again.returncode == 1
    assert "error[config-005]" in again.stderr


def test_the_template_is_valid_and_its_surfaces_inherit(tmp_path):
    mainstem("init", str(tmp_path / "feed"))
    rows = json.loads(mainstem("config", "show", "-w", str(tmp_path / "feed"), "--json").stdout)
    values = {row["setting"]: row for row in rows}
    assert values["surfaces.pages.rules.creator_cap"]["value"] == "1"
    assert values["surfaces.feed.rules.creator_cap"]["value"] == "2"
    assert values["surfaces.feed.rules.creator_cap"]["origin"] == "inherited from base"
    assert values["serve.port"]["origin"] == "default"


def test_a_misspelt_setting_is_refused_with_its_line_and_what_was_meant(tmp_path):
    (tmp_path / "mainstem.toml").write_text("[serve]\nprot = 1\n")
    done = mainstem("config", "show", "-w", str(tmp_path))
    assert done.returncode == 1
    assert "mainstem.toml:2" in done.stderr
    assert "hint: did you mean 'port'?" in done.stderr


def test_a_token_is_never_shown(tmp_path):
    (tmp_path / "mainstem.toml").write_text('[serve]\ntoken = "sesame-open"\n')
    done = mainstem("config", "show", "-w", str(tmp_path))
    assert "sesame-open" not in done.stdout + done.stderr


def test_without_a_log_or_a_model_the_verbs_say_what_to_do(tmp_path):
    for words in (("train",), ("compare",), ("describe",), ("explain", "--user", "1", "--item", "2")):
        verb = ("data", "describe") if words[0] == "describe" else words
        done = mainstem(*verb, "-w", str(tmp_path))
        assert done.returncode == 1, words
        assert "error[data-001]" in done.stderr
        assert "hint:" in done.stderr


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "events.csv"
    rows = [
        {"uid": f"u{n % 7}", "vid": f"v{n % 13}", "ts": 1_700_000_000 + 9_000 * n, "clicked": n % 3 == 0}
        for n in range(80)
    ]
    pl.DataFrame(rows).with_columns(pl.col("clicked").cast(pl.Int8)).write_csv(path)
    (tmp_path / "mainstem.toml").write_text(
        f'[data]\npath = "{path}"\nloader = "table"\n[data.columns]\nuser_id = "uid"\nitem_id = "vid"\ntime_ms = "ts"\n'
        '[data.time]\nunit = "s"\n[data.heads]\nclick = "clicked"\n'
    )
    return tmp_path


def test_any_table_comes_in_by_its_mapping(table):
    done = mainstem("data", "import", "-w", str(table), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["impressions"] == 80
    described = json.loads(mainstem("data", "describe", "-w", str(table), "--json").stdout)
    assert described["base_rates"][0]["rows"] == 80


def test_data_check_answers_no_with_exit_code_3(table):
    broken = table / "broken.csv"
    broken.write_text((table / "events.csv").read_text().replace("ts,clicked", "ts,klicked"))
    fine = mainstem("data", "check", str(table / "events.csv"), "-w", str(table))
    bad = mainstem("data", "check", str(broken), "-w", str(table))
    assert fine.returncode == 0, fine.stdout
    assert bad.returncode == 3, bad.stdout
    assert "FAIL" in bad.stdout


def test_doctor_says_what_is_there(tmp_path):
    rows = json.loads(mainstem("doctor", "-w", str(tmp_path), "--json").stdout)
    assert {"python", "numpy", "torch", "legacy programs", "log"} <= {row["what"] for row in rows}


def test_an_unknown_fault_comes_with_what_was_meant(tmp_path):
    done = mainstem("demo", "-w", str(tmp_path), "--break", "feeture")
    assert done.returncode == 1
    assert "error[" in done.stderr
