"""Other people's packages in environments of their own: made from pins, found again, run as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mainstem.base.errors import BenchError, did_you_mean

ENVIRONMENTS: Final[dict[str, bool]] = {
    "confidence": False,
    "gbstats": False,
    "implicit": False,
    "lightgbm": False,
    "teatasting": False,
    "lenskit": True,
    "rechub": True,
    "rectools": True,
}
"""One environment a peer, because RecTools needs numpy 1 and LensKit numpy 2; true where PyTorch is needed."""
TORCH: Final = "torch==2.13.0"
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Peers:
    """The peers' scripts and pins, and where their environments are.

    Args:
        scripts: ``benchmarks/peers`` of a checkout; None where there is none.
        home: The folder that holds one environment a peer.
    """

    scripts: Path | None
    home: Path

    def python(self, name: str) -> Path | None:
        """The interpreter of a peer's environment; None when it was not made, or not to the end."""
        path = self.home / name / "bin" / "python"
        return path if path.is_file() and (self.home / name / "ready").is_file() else None

    def why_absent(self, name: str) -> str:
        """Why this peer cannot run, empty when it can."""
        if self.scripts is None:
            return "the peers' scripts are not in an installed package; run from a checkout"
        if self.python(name) is None:
            return f"no environment {name!r}; mainstem bench peers makes it"
        return ""

    def command(self, name: str, script: str) -> list[str]:
        """What runs a peer's script. Raises BenchError (``bench-017``) when the peer is absent."""
        python = self.python(name)
        if python is None or self.scripts is None:
            raise BenchError(f"found no {name}: {self.why_absent(name)}", code="bench-017", hint="mainstem bench peers")
        return [str(python), str(self.scripts / f"{script}.py")]


def peers_here(home: Path | None = None) -> Peers:
    """The peers of this checkout: ``MAINSTEM_PEERS`` or ``.peers`` holds the environments."""
    root = Path(__file__).resolve().parents[3]
    scripts = root / "benchmarks" / "peers"
    named = os.environ.get("MAINSTEM_PEERS")
    chosen = home or (Path(named) if named else root / ".peers")
    return Peers(scripts if scripts.is_dir() else None, chosen.absolute())


def install(
    peers: Peers, names: Sequence[str], progress: Callable[[float, str], None] = lambda share, what: None
) -> dict[str, str]:
    """Makes the environments of some peers from their pins; says for each ``ready`` or what went wrong.

    ``TORCH_ARGS`` names where PyTorch's CPU build comes from, as for ``make setup``.

    Raises:
        BenchError: No such peer (``bench-018``), or no checkout with pins (``bench-017``).
    """
    if peers.scripts is None:
        raise BenchError("found no pins of the peers", code="bench-017", hint="run from a checkout of the project")
    for name in names:
        if name not in ENVIRONMENTS:
            raise BenchError(
                f"found the peer {name!r}, expected one of {', '.join(ENVIRONMENTS)}",
                code="bench-018",
                hint=did_you_mean(name, ENVIRONMENTS),
            )
    told: dict[str, str] = {}
    for at, name in enumerate(names):
        progress(at / len(names), f"installing {name}")
        told[name] = "ready" if peers.python(name) else _make(peers, peers.scripts, name)
    progress(1.0, "")
    return told


def _make(peers: Peers, scripts: Path, name: str) -> str:
    place = peers.home / name
    try:
        venv.EnvBuilder(with_pip=True, clear=True).create(place)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        if ENVIRONMENTS[name]:
            _run([*pip, *os.environ.get("TORCH_ARGS", "").split(), TORCH])
        _run([*pip, "--require-hashes", "-r", str(scripts / f"requirements-{name}.lock")])
    except (OSError, subprocess.CalledProcessError) as error:
        words = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        lines = [line for line in str(words).strip().splitlines() if line.startswith("ERROR")] or [str(words)]
        return f"failed: {lines[-1][-_LAST_WORDS:]}"
    (place / "ready").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    return "ready"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
