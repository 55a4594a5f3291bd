"""What a fresh process cost is told by the system, and a bad end is told too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mainstem.base.errors import BenchError
from mainstem.bench.process import peak_mb, run_fresh

WORK = """
import json, sys, time
job = json.loads(open(sys.argv[1]).read())
held = bytearray(60_000_000)
held[::4096] = b"x" * len(held[::4096])
began = time.process_time()
while time.process_time() - began < 0.2:
    pass
peak = [l for l in open("/proc/self/status") if l.startswith("VmHWM")]
open(job["folder"] + "/answer.json", "w").write(json.dumps({"fit_cpu_s": 0.2, "peak_mb": int(peak[0].split()[1]) / 1024}))
"""


def test_processor_seconds_and_memory_are_the_childs(tmp_path: Path) -> None:
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    ended = run_fresh([sys.executable, "-c", WORK], {"a": 1}, tmp_path)
    assert ended.code == 0
    assert ended.cpu_s >= 0.2
    # More than it held, and not the 300 MB of the parent that it was forked from.
    assert 60 < ended.peak_mb < 200 < peak_mb()
    assert ended.told["fit_cpu_s"] == 0.2


def test_a_bad_end_keeps_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text('{"fit_cpu_s": 9}')
    ended = run_fresh([sys.executable, "-c", "raise SystemExit('no such model')"], {}, tmp_path)
    assert ended.code == 1
    assert ended.told == {}
    assert ended.last_words == "no such model"


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    ended = run_fresh([sys.executable, "-c", "while True: pass"], {}, tmp_path, limit_s=0.3)
    assert ended.code == -9


def test_an_answer_that_is_no_json_is_refused(tmp_path: Path) -> None:
    script = "import json, sys; open(json.load(open(sys.argv[1]))['folder'] + '/answer.json', 'w').write('{')"
    with pytest.raises(BenchError) as caught:
        run_fresh([sys.executable, "-c", script], {}, tmp_path)
    assert caught.value.code == "bench-011"
