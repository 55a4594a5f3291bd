"""Media attributes: places, classes and what unknown means."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import State
from mainstem.features.extract.fixed import SCALE
from mainstem.features.extract.media import MediaAttributes

DAY_MS = 86_400_000


def media(**of: object) -> MediaAttributes:
    return MediaAttributes(name="media", version="1", **of)  # type: ignore[arg-type]


def values(extractor: MediaAttributes, table: dict[str, list[object]]) -> list[list[float]]:
    return np.round(extractor.extract(pl.DataFrame(table)).vectors * SCALE, 5).tolist()


def test_duration_is_its_place_among_edges() -> None:
    found = values(
        media(duration_ms="d", duration_edges_s=(0.0, 10.0, 30.0)), {"d": [5_000, 20_000, 99_000, 0, None, -3]}
    )
    assert found == [[0.5, 1.0], [1.5, 1.0], [2.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_shape_is_the_share_of_the_width() -> None:
    found = values(media(size=("w", "h")), {"w": [720.0, 720.0, None], "h": [1280.0, 0.0, 5.0]})
    assert found == [[0.36, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_kinds_have_a_class_each_and_one_for_others() -> None:
    found = values(media(kind="k", kinds=("AD", "NORMAL")), {"k": ["NORMAL", "AD", "LIVE", None]})
    assert found == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("as_text", [True, False])
def test_age_is_a_class_as_of_a_declared_time(as_text: bool) -> None:
    days = [dt.date(2022, 4, 10), dt.date(2022, 4, 8), dt.date(2022, 4, 11), None]
    column: list[object] = [str(day) if day and as_text else day for day in days]
    as_of = int(dt.datetime(2022, 4, 10, 12, tzinfo=dt.UTC).timestamp() * 1000)
    found = values(media(uploaded="u", as_of_ms=as_of, age_edges_days=(1.0, 7.0)), {"u": column})
    assert found == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_names_tell_every_value_and_all_unknown_is_empty() -> None:
    extractor = media(duration_ms="d", kind="k", kinds=("AD",), size=("w", "h"), uploaded="u", as_of_ms=30 * DAY_MS)
    table = pl.DataFrame({"d": [0, 9], "k": [None, "AD"], "w": [None, 1.0], "h": [None, 1.0], "u": [None, 0]})
    found = extractor.extract(table)
    assert found.state.tolist() == [State.EMPTY, State.KNOWN]
    told = dict(zip(extractor.names, (found.vectors[1] * SCALE).tolist(), strict=True))
    assert told["width_share"] == 0.5
    assert told["kind=AD"] == told["age_from_30_days"] == told["duration_known"] == 1.0


def test_age_without_a_time_is_refused() -> None:
    for declared in ({"uploaded": "u"}, {}):
        with pytest.raises(ExtractionError) as refused:
            media(**declared)
        assert refused.value.code == "feature-063"
