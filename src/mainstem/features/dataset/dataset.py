"""A training set on disk: opened only when every byte is what was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.dataset.digest import TableDigest
from mainstem.features.dataset.record import DatasetRecord, changed, read_record
from mainstem.features.dataset.seal import file_sha256, row_groups


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training set.

    Attributes:
        folder: Where it lies.
        record: What it says of itself.
    """

    folder: Path
    record: DatasetRecord

    def lazy(self, part: str | None = None) -> pl.LazyFrame:
        """Its rows in log order, one part or all, for polars; nothing is read yet."""
        return pl.scan_parquet(self.files(part))

    def arrow(self, part: str | None = None) -> ds.Dataset:
        """Its rows in log order, one part or all, for Arrow and DuckDB; nothing is read yet."""
        return ds.dataset([str(path) for path in self.files(part)], format="parquet")

    def files(self, part: str | None = None) -> list[Path]:
        """The Parquet files of one part or of all, in log order.

        Raises:
            FeatureError: There is no such part, or it has no rows (``feature-083``).
        """
        found = [self.folder / file.path for file in self.record.files if part in (None, file.part)]
        if not found:
            raise FeatureError(
                f"{self.folder} has no rows in part {part!r}",
                code="feature-083",
                hint=did_you_mean(part or "", self.record.split.names),
            )
        return found


def open_dataset(path: Path | str, verify: Literal["bytes", "values"] = "bytes") -> Dataset:
    """A training set that is what was written.

    Args:
        path: Its folder.
        verify: ``bytes`` hashes every file; ``values`` also reads every row and hashes the values again.

    Raises:
        FeatureError: It is not there (``feature-088``), or a file was changed, is missing or too many (``feature-089``).
    """
    folder = Path(path)
    record = read_record(folder)
    known = {file.path: file for file in record.files}
    lying = {str(one.relative_to(folder)) for one in folder.rglob("*.parquet")}
    for name in sorted(known.keys() ^ lying):
        raise changed(folder / name)
    for name, file in known.items():
        if file_sha256(folder / name) != file.sha256:
            raise changed(folder / name)
    dataset = Dataset(folder, record)
    if verify == "values":
        _same_values(dataset)
    return dataset


def _same_values(dataset: Dataset) -> None:
    schema = pq.read_schema(dataset.files()[0])
    for part in dataset.record.split.names:
        digest = TableDigest(schema)
        for path in dataset.files(part) if any(file.part == part for file in dataset.record.files) else []:
            for rows in row_groups(path, schema):
                digest.update(rows)
        found = digest.by_column()
        for column in dataset.record.columns:
            if column.sha256[part] != found.get(column.name):
                raise changed(dataset.folder / part / column.name)
