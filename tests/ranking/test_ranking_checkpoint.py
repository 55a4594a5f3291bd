"""Checkpoints: a run killed at any moment ends with the same weights, and a torn or foreign file is never gone on with."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mainstem.base.errors import ModelError
from mainstem.ranking.checkpoint import Identity, drop_checkpoints, identity_of, load_checkpoint, save_checkpoint

LOOP = """
import os, random, signal, sys, time, torch
from pathlib import Path
from mainstem.ranking.checkpoint import Identity, load_checkpoint, save_checkpoint
torch.set_num_threads(1)
me = Identity("s", "d")

def learn(folder):
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))
    adam = torch.optim.AdamW(net.parameters(), lr=1e-2)
    found, first = load_checkpoint(folder, me), 0
    if found is not None:
        net.load_state_dict(found["net"]); adam.load_state_dict(found["optimiser"])
        torch.set_rng_state(found["rng"]); first = found["step"]
    for step in range(first, 60):
        x = torch.randn(32, 8)
        loss = (net(x)[:, 0] - x.sum(dim=1)).square().mean()
        adam.zero_grad(); loss.backward(); adam.step()
        state = {"step": step + 1, "net": net.state_dict(), "optimiser": adam.state_dict(), "rng": torch.get_rng_state()}
        save_checkpoint(folder, state, me)
    torch.save(net.state_dict(), folder / "final.pt")
    return first

whole, broken, draw = Path(sys.argv[1]), Path(sys.argv[2]), random.Random(8)
learn(whole)
for _ in range(4):
    child = os.fork()
    if child == 0:
        learn(broken)
        os._exit(0)
    wanted = draw.randrange(4, 10)
    before = max((int(p.stem[5:]) for p in broken.glob("step-*")), default=0)
    while max((int(p.stem[5:]) for p in broken.glob("step-*")), default=0) < before + wanted:
        time.sleep(0.0002)
    time.sleep(draw.random() * 0.004)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
assert not (broken / "final.pt").exists()
print(learn(broken))
"""
ME = Identity("settings", "data")


def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", LOOP, str(whole), str(broken)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert 16 <= int(done.stdout) < 60
    one, two = (torch.load(folder / "final.pt", weights_only=True) for folder in (whole, broken))
    assert all(torch.equal(one[name], two[name]) for name in one)


def _some(folder: Path, steps: int = 3) -> list[Path]:
    return [save_checkpoint(folder, {"step": n + 1, "w": torch.full((50,), float(n))}, ME) for n in range(steps)]


def test_two_generations_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    paths = _some(tmp_path)
    assert sorted(tmp_path.iterdir()) == paths[1:]
    found = load_checkpoint(tmp_path, ME)
    assert found is not None
    assert found["step"] == 3
    assert found["w"][0] == 2.0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "header"])
def test_a_damaged_one_is_passed_over_for_the_one_before(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    newest = _some(tmp_path)[-1]
    body = bytearray(newest.read_bytes())
    body[len(body) // 2] ^= 1
    broken = {"cut": body[: len(body) // 2], "flipped": body, "empty": b"", "header": b"no" + body}[damage]
    newest.write_bytes(bytes(broken))
    found = load_checkpoint(tmp_path, ME)
    assert found is not None
    assert found["step"] == 2
    assert "step 3" in caplog.text


def test_without_a_whole_one_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none", ME) is None
    for path in _some(tmp_path):
        if path.exists():
            path.write_bytes(b"torn")
    assert load_checkpoint(tmp_path, ME) is None


@pytest.mark.parametrize(("other", "what"), [(Identity("x", "data"), "settings"), (Identity("settings", "x"), "rows")])
def test_a_training_of_something_else_is_refused(tmp_path: Path, other: Identity, what: str) -> None:
    _some(tmp_path)
    with pytest.raises(ModelError, match=what) as refused:
        load_checkpoint(tmp_path, other)
    assert refused.value.code == "model-040"


def test_the_identity_moves_with_settings_and_with_every_value() -> None:
    rows = np.arange(200_000, dtype=np.float32).reshape(-1, 2)
    other = rows.copy()
    other[-1, -1] += 1
    assert identity_of("a", rows) == identity_of("a", rows.copy())
    assert identity_of("a", rows).settings != identity_of("b", rows).settings
    assert identity_of("a", rows).data != identity_of("a", other).data
    assert identity_of("a", rows).data != identity_of("a", rows.reshape(2, -1)).data


def test_what_cannot_be_read_back_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        save_checkpoint(tmp_path, {"step": 1, "draw": np.random.default_rng(0)})
    assert refused.value.code == "model-041"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    _some(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
        with pytest.raises(ModelError) as refused:
            save_checkpoint(tmp_path, {"step": 2, "w": torch.zeros(5_000)}, ME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused.value.code == "model-042"
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000001.checkpoint"]
    found = load_checkpoint(tmp_path, ME)
    assert found is not None
    assert found["step"] == 1


def test_a_finished_training_leaves_nothing(tmp_path: Path) -> None:
    _some(tmp_path / "run")
    drop_checkpoints(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
