"""Where the public sets lie on this machine, and which protocol each is of."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mainstem.base.errors import BenchError, DataError, did_you_mean

ARCHIVES: Final = (".tar.xz", ".tar.gz", ".tgz")
SEQUENCES: Final[dict[str, str]] = {
    "ml-1m": "ml-1m",
    "beauty": "amazon_lastfm_seq",
    "toys": "amazon_lastfm_seq",
    "ml-100k": "ml-100k",
    "ml-latest-small": "ml-latest-small",
    "lastfm": "amazon_lastfm_seq",
    "retailrocket": "retailrocket",
}
"""Sets of sequences, and the pack each is in."""
OFFICIAL_MD5: Final = "0820331067a3784d9691136f772b35a7"
"""Of KuaiRand-Pure.tar.gz, as the public figures' protocol names it."""
SMALL: Final = ("ml-100k", "ml-latest-small", "lastfm", "retailrocket")
"""What ``small`` stands for: seconds to minutes each, no target of the issue."""
RANKING: Final[dict[str, tuple[str, ...]]] = {
    "kuairand": ("kuairand_pure",),
    "kuairand-official": ("KuaiRand-Pure", "kuairand-official"),
}
DEFAULT: Final = ("ml-1m", "beauty", "toys", "kuairand")
"""What runs when nobody names a protocol; ``kuairand-official`` needs the full archive and ``census`` prints why it is empty."""
NAMES: Final = (*SEQUENCES, *RANKING, "census", "small")


@dataclass(frozen=True, slots=True)
class Packs:
    """The folder of public sets.

    Args:
        folder: Named by the person; None looks where tests and the demo look (``MAINSTEM_DATA``, or the folder beside the
            checkout).
        scratch: Where archives are unpacked, once.
    """

    folder: Path | None
    scratch: Path

    def find(self, *names: str) -> Path:
        """The folder of the first of these packs that is there; an archive is unpacked first.

        Raises:
            BenchError: None is there (``bench-012``), or the archive is damaged (``bench-013``).
        """
        place = self.folder or default_folder()
        if place.name in names and place.is_dir():
            return place
        for name in names:
            if (place / name).is_dir():
                return place / name
            for end in ARCHIVES:
                if (archive := place / f"{name}{end}").is_file():
                    return self._unpacked(archive)
        raise BenchError(
            f"found no {' or '.join(names)} in {place}, expected a folder or an archive of that name",
            code="bench-012",
            hint="mainstem bench models --data FOLDER; docs/guides/bench-models.md says where each set is to be had",
        )

    def archive_md5(self, *names: str) -> str:
        """The MD5 of the archive that ``find`` unpacked; empty where the set was a folder already."""
        place = self.folder or default_folder()
        paths = [place / f"{name}{end}" for name in names for end in ARCHIVES]
        archive = next((path for path in paths if path.is_file()), None)
        if archive is None or any((place / name).is_dir() for name in names):
            return ""
        with archive.open("rb") as handle:
            return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def _unpacked(self, archive: Path) -> Path:
        target = self.scratch / f"{archive.name}-{archive.stat().st_size}"
        if not target.is_dir():
            half = self.scratch / f".{archive.name}-{os.getpid()}"
            try:
                with tarfile.open(archive) as tar:
                    tar.extractall(half, filter="data")
            except (tarfile.TarError, OSError, EOFError) as error:
                shutil.rmtree(half, ignore_errors=True)
                raise BenchError(
                    f"found an archive at {archive} that cannot be unpacked: {error}",
                    code="bench-013",
                    hint="copy the archive again",
                ) from error
            half.rename(target)
        inner = [path for path in target.iterdir() if path.is_dir()]
        return inner[0] if len(inner) == 1 else target


def default_folder() -> Path:
    """``MAINSTEM_DATA``, or the folder beside the checkout."""
    named = os.environ.get("MAINSTEM_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "data"


def chosen(only: str) -> list[str]:
    """The protocols somebody named, in the order of the tables.

    Raises:
        BenchError: A name that is none (``bench-014``).
    """
    wanted = [name.strip() for name in only.split(",") if name.strip()] or list(DEFAULT)
    for name in wanted:
        if name not in NAMES:
            raise BenchError(
                f"found the protocol {name!r}, expected one of {', '.join(NAMES)}",
                code="bench-014",
                hint=did_you_mean(name, NAMES),
            )
    named = {one for name in wanted for one in (SMALL if name == "small" else (name,))}
    return [name for name in NAMES if name in named]


def wrong_pack(name: str, folder: Path, error: DataError) -> BenchError:
    """A folder that is there but does not hold what the protocol is about."""
    return BenchError(
        f"found in {folder} no data of the protocol {name!r}: {error.message}",
        code="bench-015",
        hint=error.hint or "docs/guides/bench-models.md says which files each protocol reads",
    )
