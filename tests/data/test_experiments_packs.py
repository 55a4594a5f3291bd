"""The published experiments are read as their owners describe them; a folder without them is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mainstem.base.errors import DataError
from mainstem.data.loaders.experiments import (
    COOKIE_CATS_ARMS,
    HILLSTROM_ARMS,
    read_asos,
    read_cookie_cats,
    read_hillstrom,
)


@pytest.mark.real
def test_the_published_experiments_have_their_published_counts(pack: Callable[[str], Path]):
    hillstrom = read_hillstrom(pack("hillstrom"))
    assert hillstrom.height == 64_000
    assert sorted(hillstrom["arm"].unique()) == sorted(HILLSTROM_ARMS)
    assert hillstrom["visit"].sum() == 9_394
    cats = read_cookie_cats(pack("cookie_cats"))
    assert cats.group_by("arm").len().sort("arm")["len"].to_list() == [44_700, 45_489]
    assert tuple(sorted(cats["arm"].unique())) == COOKIE_CATS_ARMS
    assert cats["rounds"].max() == 49_854
    asos = read_asos(pack("asos"))
    assert asos["experiment"].n_unique() == 43
    assert (asos["variance_c"] >= 0).all()


@pytest.mark.parametrize("read", [read_hillstrom, read_cookie_cats, read_asos])
def test_a_folder_without_them_is_refused(read, tmp_path):
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert refused.value.code == "data-001"


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "hillstrom.csv").write_text("treatment,visit\nNo E-Mail,1\n")
    with pytest.raises(DataError, match="conversion") as refused:
        read_hillstrom(tmp_path)
    assert refused.value.code == "data-003"
