"""A fresh memory: its control words and the description of each group that the kernels read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mainstem.features.kernel import memory as m
from mainstem.features.kernel.shape import UNTIMED, EventLayout, GroupShape


def describe(
    shapes: Sequence[GroupShape],
    layout: EventLayout,
    ttls_ms: Sequence[int | None],
    capacity_words: int,
    limit_words: int | None,
    track: bool,
) -> NDArray[np.int64]:
    """An empty memory for these groups, of `capacity_words` or what the descriptions and one event take."""
    words = list[int]()
    at = m.GROUP_TABLE + len(shapes)
    table: list[int] = []
    for shape in shapes:
        table.append(at + len(words))
        words.extend(_description(shape, at + len(words)))
    top = _line(at + len(words))
    worst = sum(_worst_words(shape) for shape in shapes)
    size = max(capacity_words, top + worst)
    mem = np.zeros(max(top, min(size, limit_words)) if limit_words is not None else size, np.int64)
    mem[[m.TOP, m.USED, m.EPOCH, m.GROUPS, m.TRACK]] = (top, top, 1, len(shapes), track)
    mem[m.WORST] = worst
    mem[m.GROUP_TABLE : at] = table
    mem[at : at + len(words)] = words
    rewrite_columns(mem, layout, ttls_ms)
    return mem


def rewrite_columns(mem: NDArray[np.int64], layout: EventLayout, ttls_ms: Sequence[int | None]) -> None:
    """Writes where event rows hold each group's words, and the times to live, into the descriptions."""
    mem[m.OFFSET_COLUMN], mem[m.WIDTH] = layout.offset, layout.width
    for group, (columns, ttl) in enumerate(zip(layout.groups, ttls_ms, strict=True)):
        at = mem[m.GROUP_TABLE + group]
        mem[at + m.TTL] = -1 if ttl is None else ttl
        mem[at + m.COUNTS_COLUMN], mem[at + m.WHEN_COLUMN] = columns.counts, columns.when
        for word, values in (
            (m.KEY_COLUMNS, columns.keys),
            (m.INPUT_COLUMNS, columns.inputs),
            (m.FIELD_COLUMNS, columns.fields),
        ):
            mem[mem[at + word] : mem[at + word] + len(values)] = values


def record_words(shape: GroupShape) -> int:
    """How many words a record of this shape takes, in whole lines."""
    return _line(m.RECORD_KEY + shape.key_width + shape.inputs + len(shape.hops_ms) * m.LEVEL_WORDS + m.RUN_WORDS)


def _line(words: int) -> int:
    return -(-words // m.LINE_WORDS) * m.LINE_WORDS


def _description(shape: GroupShape, at: int) -> list[int]:
    """The description of one group, its arrays behind it."""
    words = [0] * m.DESCRIPTION_WORDS
    words[m.KEY_WIDTH], words[m.INPUTS], words[m.LEVELS] = shape.key_width, shape.inputs, len(shape.hops_ms)
    words[m.LIST_K], words[m.LIST_FIELDS], words[m.BY_TIME] = shape.list_k, shape.list_fields, int(shape.by_time)
    words[m.RECORD_WORDS], words[m.GROUP_NEWEST] = record_words(shape), UNTIMED
    words[m.EVER_AT] = m.RECORD_KEY + shape.key_width
    words[m.LEVELS_AT] = words[m.EVER_AT] + shape.inputs
    words[m.LIST_AT] = words[m.LEVELS_AT] + len(shape.hops_ms) * m.LEVEL_WORDS
    for word, values in (
        (m.KEY_COLUMNS, (0,) * shape.key_width),
        (m.INPUT_COLUMNS, (0,) * shape.inputs),
        (m.FIELD_COLUMNS, (0,) * shape.list_fields),
        (m.OPS, shape.ops),
        (m.HOPS, shape.hops_ms),
        (m.KEEPS, shape.keeps),
        (m.STAGE, (0,) * (m.STAGE_INPUTS + shape.inputs + shape.list_fields)),
    ):
        words[word] = at + len(words)
        words.extend(values)
    return words


def _worst_words(shape: GroupShape) -> int:
    """More words than one event can take: a record, and the last growth of every run."""
    runs = [(keep, 1 + shape.inputs) for keep in shape.keeps]
    if shape.list_k > 0:
        runs.append((shape.list_k, 2 + shape.list_fields))
    return record_words(shape) + sum(2 * _block_words((4 * (most + 2) // 3 + 1) * width) for most, width in runs)


def _block_words(words: int) -> int:
    size = m.SMALLEST_BLOCK
    while size < words:
        size *= 2
    return size
