"""Lives through a log in order: to bring the memory up to a day, and to see what the model would have seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from content_first.catalogue import Items
from content_first.folder import Shown
from content_first.memory import Memory

Credits = NDArray[np.int64]


def live_through(
    memory: Memory, items: Items, shown: Shown, before_request: Callable[[int, int], None] | None = None
) -> Credits:
    """Applies every impression in order; ``before_request(first, last)`` sees the state before each request's own outcomes.

    Returns:
        Per row, the outcomes credited to it (bit set): its own when viewable, and late ones that came without a view.
    """
    edges = np.flatnonzero(np.diff(shown.request_id)) + 1
    firsts, lasts = np.append(0, edges).tolist(), np.append(edges, len(shown.request_id)).tolist()
    item_rows = items.rows(shown.item_id.tolist()).tolist()
    users, times = shown.user_id.tolist(), shown.time_ms.tolist()
    viewed, did, watch_ms = shown.viewed.tolist(), shown.did.tolist(), shown.watch_ms.tolist()
    credits = [d if v else 0 for d, v in zip(did, viewed, strict=True)]
    for first, last in zip(firsts, lasts, strict=True):
        if first == last:
            continue
        if before_request is not None:
            before_request(first, last)
        for row in range(first, last):
            user = memory.row_for(users[row])
            got = memory.apply(user, item_rows[row], times[row], viewed[row], did[row], watch_ms[row], tag=row)
            if got >= 0:
                credits[got] |= did[row]
    memory.user_ring[:, 3] = -1
    memory.first_times(shown.request_id.tolist(), shown.item_id.tolist())
    return np.array(credits, dtype=np.int64)
