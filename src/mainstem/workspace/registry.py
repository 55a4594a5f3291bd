"""Every model that was ever trained: versions that are never changed, which of them serves, and what each was made from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.base.errors import ModelError, did_you_mean

VERSIONS: Final = "versions"
CURRENT: Final = "current"
RECORD: Final = "version.json"
INDEX: Final = "index.json"
HISTORY: Final = "history.jsonl"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One trained model, as its record says.

    Attributes:
        id: Its number and the first digits of the hash of its files.
        made_ms: When it was written.
        parents: What it began from: versions of the same name, the direct one last.
        files: The hash of each file.
        about: The card: data and split hashes, rows, metrics, slices, limits, settings, what it learned from.
    """

    name: str
    id: str
    number: int
    made_ms: int
    parents: tuple[str, ...]
    files: dict[str, str]
    about: dict[str, Any]


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One switch of what serves."""

    id: str
    before: str
    at_ms: int
    reason: str


def current_folder(folder: Path) -> Path:
    """Where the model that serves lies: the current version's folder, or the folder itself where no version was ever made."""
    told = _pointer(folder)
    return folder / VERSIONS / told if told else folder


def version_of(folder: Path) -> str:
    """The version whose folder this is; empty for a model that has none."""
    return folder.name if folder.parent.name == VERSIONS and (folder / RECORD).is_file() else ""


class Registry:
    """The versions of one kind of model in a workspace.

    Args:
        folder: ``models/NAME``.
        clock_ms: What time it is, for records; the system's unless a test says.
    """

    def __init__(self, folder: Path, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.folder, self._clock_ms = folder, clock_ms

    @property
    def name(self) -> str:
        """What kind of model it holds."""
        return self.folder.name

    @property
    def current(self) -> str:
        """The version that serves; empty before there is one."""
        return _pointer(self.folder)

    def versions(self) -> tuple[Version, ...]:
        """Every whole version, oldest first. A folder that a killed writer left is none."""
        found = [_record(path.parent) for path in (self.folder / VERSIONS).glob(f"[0-9]*/{RECORD}")]
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.number))

    def get(self, id_: str) -> Version:
        """A version by its id, the beginning of one, its number, or ``current``.

        Raises:
            ModelError: There is none, or more than one (``model-050``).
        """
        asked = self.current if id_ == CURRENT else id_
        held = self.versions()
        exact = [one for one in held if asked in (one.id, str(one.number))]
        found = exact or [one for one in held if asked and one.id.startswith(asked)]
        if len(found) == 1:
            return found[0]
        ids = [one.id for one in held]
        what = "more than one version" if found else "no version"
        raise ModelError(
            f"found {what} {id_!r} of the model {self.name!r}, expected one of {', '.join(ids[-5:]) or 'none yet'}",
            code="model-050",
            hint=did_you_mean(id_, ids) if ids else "mainstem train",
        )

    def path(self, version: Version) -> Path:
        """The folder of a version's files."""
        return self.folder / VERSIONS / version.id

    def add(
        self,
        write: Callable[[Path], object],
        about: Mapping[str, Any],
        *,
        parents: Sequence[str] = (),
        promote: bool = True,
        reason: str = "trained",
    ) -> Version:
        """Takes a model in as a new version, whole or not at all.

        Args:
            write: Writes the model's files into the folder it is given.
            about: The card.
            parents: What it began from.
            promote: Whether it serves from now on.
            reason: Why, for the history.

        Raises:
            ModelError: The disk refused it (``model-052``); what served goes on serving.
        """
        with self._only_one():
            self._take_bare()
            version = self._written(write, about, tuple(parents))
            if promote:
                self._switch(version.id, reason)
            self._index()
        return version

    def adopt(self) -> None:
        """Makes a model that an older Mainstem wrote beside the versions the first of them; nothing where there is none.

        Raises:
            ModelError: The disk refused it (``model-052``).
        """
        if self.folder.is_dir():
            with self._only_one():
                self._take_bare()

    def promote(self, id_: str, reason: str = "") -> Version:
        """Lets a version serve from now on: the next time a server starts or reads its model.

        Raises:
            ModelError: There is no such version (``model-050``), or its files are not those that were written (``model-051``).
        """
        with self._only_one():
            version = self.get(id_)
            self.check(version)
            if version.id != self.current:
                self._switch(version.id, reason)
            self._index()
        return version

    def check(self, version: Version) -> None:
        """Whether a version is what was written.

        Raises:
            ModelError: A file is missing or another one (``model-051``).
        """
        folder = self.path(version)
        bad = [name for name, sha in version.files.items() if _sha_of(folder / name) != sha]
        if bad:
            raise ModelError(
                f"version {version.id} of the model {self.name!r} is damaged: {', '.join(bad)} is not what was written",
                code="model-051",
                hint="`mainstem models list` shows the versions that are whole; `mainstem models promote ID` goes back to one",
            )

    def is_whole(self, version: Version) -> bool:
        """The same as an answer."""
        try:
            self.check(version)
        except ModelError:
            return False
        return True

    def ancestry(self, version: Version) -> tuple[Version, ...]:
        """What a version began from, itself last; a parent that was deleted is left out."""
        held = {one.id: one for one in self.versions()}
        found, at = [version], version
        while at.parents and at.parents[-1] in held and held[at.parents[-1]] not in found:
            at = held[at.parents[-1]]
            found.append(at)
        return tuple(reversed(found))

    def history(self) -> tuple[Promotion, ...]:
        """Every switch of what serves, oldest first; a torn last line is passed over."""
        try:
            lines = (self.folder / HISTORY).read_bytes().splitlines()
        except OSError:
            return ()
        found = []
        for line in lines:
            try:
                found.append(msgspec.json.decode(line, type=Promotion))
            except msgspec.DecodeError:
                continue
        return tuple(found)

    def _written(self, write: Callable[[Path], object], about: Mapping[str, Any], parents: tuple[str, ...]) -> Version:
        place = self.folder / VERSIONS
        scratch = place / f".{os.getpid()}"
        try:
            for left in place.glob(".[0-9]*"):
                # Nobody else writes while the lock is held: these are of killed writers.
                shutil.rmtree(left)
            scratch.mkdir(parents=True)
            write(scratch)
            number = 1 + max((one.number for one in self.versions()), default=0)
            version = _version(self.name, number, scratch, about, parents, self._clock_ms())
            (scratch / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(version), indent=1))
            for path in (*scratch.iterdir(), scratch):
                _sync(path)
            scratch.rename(place / version.id)
            _sync(place)
        except OSError as error:
            raise self._refused("a new version", error) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return version

    def _take_bare(self) -> None:
        """Makes a model that an older Mainstem wrote beside the versions the first of them."""
        bare = [path for path in self.folder.iterdir() if path.is_file() and not path.name.startswith(".")]
        bare = [path for path in bare if path.name not in (CURRENT, INDEX, HISTORY)]
        if not bare or self.current:
            return
        about = _card(self.folder / "model.json")
        version = self._written(lambda to: [shutil.copy2(path, to) for path in bare], about, ())
        self._switch(version.id, "was there before versions were")
        for path in bare:
            path.unlink()

    def _switch(self, id_: str, reason: str) -> None:
        told = Promotion(id=id_, before=self.current, at_ms=self._clock_ms(), reason=reason)
        try:
            with (self.folder / HISTORY).open("ab") as file:
                if file.tell() and not _ends_a_line(self.folder / HISTORY):
                    file.write(b"\n")
                file.write(msgspec.json.encode(told) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            _replace(self.folder / CURRENT, id_.encode() + b"\n")
        except OSError as error:
            raise self._refused(f"the pointer to version {id_}", error) from None

    def _index(self) -> None:
        """Writes what tools outside may list; made from the folders each time, and never read here."""
        rows = [
            {"id": one.id, "made_ms": one.made_ms, "parents": one.parents, "current": one.id == self.current}
            for one in self.versions()
        ]
        try:
            _replace(self.folder / INDEX, msgspec.json.format(msgspec.json.encode(rows), indent=1))
        except OSError as error:
            raise self._refused("the index", error) from None

    def _refused(self, what: str, error: OSError) -> ModelError:
        return ModelError(
            f"{what} of the model {self.name!r} was not written: {error.strerror or error}; what served goes on serving",
            code="model-052",
            status=507,
            hint="make room and run `mainstem train` again",
        )

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        """Writers wait for each other; the lock goes with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _version(
    name: str, number: int, folder: Path, about: Mapping[str, Any], parents: tuple[str, ...], made_ms: int
) -> Version:
    files = {path.name: _sha_of(path) for path in sorted(folder.iterdir()) if path.is_file()}
    whole = hashlib.sha256(msgspec.json.encode(files, order="sorted")).hexdigest()
    plain = msgspec.json.decode(msgspec.json.encode(about, enc_hook=str))
    return Version(
        name=name, id=f"{number:04d}-{whole[:8]}", number=number, made_ms=made_ms, parents=parents, files=files,
        about=plain,
    )  # fmt: skip


def _record(folder: Path) -> Version | None:
    try:
        found = msgspec.json.decode((folder / RECORD).read_bytes(), type=Version)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.id == folder.name else None


def _pointer(folder: Path) -> str:
    try:
        told = (folder / CURRENT).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return told if (folder / VERSIONS / told / RECORD).is_file() else ""


def _card(path: Path) -> dict[str, Any]:
    try:
        card = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return {}
    return {name: value for name, value in card.items() if name not in ("calibration", "features")}


def _replace(path: Path, content: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def _ends_a_line(path: Path) -> bool:
    return path.read_bytes().endswith(b"\n")


def _sha_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
