"""What a workspace's server has written down: outcomes in the order they were applied, and impressions by request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.data.records import Feedback, Impression, decode_impression
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.follow import batch_of
from mainstem.store.event_log import FEEDBACK
from mainstem.store.seal import read_from

_STEP = 10_000


class _Named(msgspec.Struct):
    request_id: int


@dataclass(frozen=True, slots=True)
class LiveRecords:
    """The live log, read once.

    Attributes:
        feedback: Every outcome, in the log's order.
        offsets: Where each stands in the log's file.
        impressions: Payloads by request; of a request that was served twice the later one.
    """

    feedback: FeedbackBatch
    offsets: NDArray[np.int64]
    impressions: dict[int, bytes]

    @classmethod
    def read(cls, folder: Path, surfaces: tuple[str, ...]) -> LiveRecords:
        """The records of ``live/``; none where nothing was ever served."""
        path, after = folder / "events.sqlite", 0
        outcomes, offsets, impressions = list[Feedback](), list[int](), dict[int, bytes]()
        while path.is_file() and (found := read_from(path, folder / "sealed", after, _STEP)):
            after = found[-1].offset
            for one in found:
                if one.kind == FEEDBACK:
                    outcomes.append(msgspec.json.decode(one.payload, type=Feedback))
                    offsets.append(one.offset)
                else:
                    impressions[msgspec.msgpack.decode(one.payload, type=_Named).request_id] = one.payload
        return cls(batch_of(outcomes, surfaces), np.array(offsets, np.int64), impressions)

    def impression(self, request_id: int) -> Impression | None:
        """What was served for a request; None when this server did not."""
        payload = self.impressions.get(request_id)
        return None if payload is None else decode_impression(payload)


class _Timed(msgspec.Struct):
    time_ms: int


def newest_live_ms(folder: Path) -> int:
    """The latest time of any record of ``live/``; 0 where nothing was ever served."""
    path, after, newest = folder / "events.sqlite", 0, 0
    while path.is_file() and (found := read_from(path, folder / "sealed", after, _STEP)):
        after = found[-1].offset
        for one in found:
            read = msgspec.json.decode if one.kind == FEEDBACK else msgspec.msgpack.decode
            newest = max(newest, read(one.payload, type=_Timed).time_ms)
    return newest
