"""Where everything of a workspace lies, and how evidence is written and read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.base.errors import DataError, StoreError
from mainstem.base.settings import FILE, Settings, read_settings
from mainstem.workspace.registry import Registry, current_folder

LEGACY: Final = ("content-first", "interest-first")
"""The two legacy stacks, by the names they give themselves."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with a ``mainstem.toml`` and what was made from it.

    Args:
        folder: Its path; made when something is written.
        settings: What its ``mainstem.toml`` says.
    """

    folder: Path
    settings: Settings

    @classmethod
    def open(cls, folder: Path, environment: dict[str, str] | None = None) -> Workspace:
        """The workspace in this folder; a folder without a ``mainstem.toml`` has the default settings."""
        return cls(folder, read_settings(folder, environment))

    @property
    def file(self) -> Path:
        """Its settings file."""
        return self.folder / FILE

    @property
    def log(self) -> Path:
        """The log folder (docs/reference/tables.md)."""
        return self.folder / "log"

    @property
    def unified_model(self) -> Path:
        """The folder of the unified stack's model that serves: its current version. Versions are never written to."""
        return current_folder(self.folder / "models" / "unified")

    def models(self, name: str = "unified") -> Registry:
        """Every version of a kind of model."""
        return Registry(self.folder / "models" / name)

    @property
    def live(self) -> Path:
        """The durable event and impression log of ``mainstem serve``."""
        return self.folder / "live"

    def legacy_model(self, stack: str) -> Path:
        """The artefacts folder of a legacy stack."""
        return self.folder / "models" / stack

    def evidence(self, name: str) -> Path:
        """The file of one kind of evidence."""
        return self.folder / "evidence" / f"{name}.json"

    def write_evidence(self, name: str, content: Any) -> Path:
        """Stores evidence whole or not at all.

        Raises:
            StoreError: The disk refused it (``store-010``).
        """
        path = self.evidence(name)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
            scratch.replace(path)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise StoreError(f"evidence {name!r} was not written to {path}: {error}", code="store-010") from None
        return path

    def read_evidence(self, name: str) -> Any | None:
        """The stored evidence as plain values; None when there is none yet.

        Raises:
            DataError: The file is not JSON (``data-070``).
        """
        path = self.evidence(name)
        try:
            return msgspec.json.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(
                f"evidence file {path} cannot be read: {error}", code="data-070", hint="make it again: mainstem demo"
            ) from None
