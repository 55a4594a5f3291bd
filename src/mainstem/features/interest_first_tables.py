"""Where the interest-first stack's attributes come from: the catalog's facts and what its program's training left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.features.attributes import AttributeTable, dense
from mainstem.features.interest_first_artefacts import Artefacts
from mainstem.features.interest_first_posts import KINDS, Posts

Tables = dict[str, AttributeTable]


def interest_first_tables(
    posts: Posts, artefacts: Artefacts, cohort_of: NDArray[np.int64], codes: Mapping[str, int], until: int
) -> Tables:
    """The tables that the interest-first stack's attributes name.

    Args:
        posts: Slots of posts; the last row is every post's that is not listed.
        artefacts: Priors, cohorts and plans.
        cohort_of: Cohort row of each user row, with 0 in a last row for users the catalog does not hold.
        codes: The code of each surface in feedback and requests.
        until: The landmark's day (yyyymmdd): the first that the log in the state does not hold.
    """
    users = posts.catalog.users
    facts = {"utc_offset_ms": users.utc_offset_ms.astype(np.float64), "cohort": cohort_of.astype(np.float64)}
    return {
        "posts": _posts(posts),
        "users": AttributeTable.of(users.ids, facts, name="users"),
        "surfaces": _surfaces(artefacts, codes),
        "program": dense(
            {
                "landmark_ms": np.full(2, landmark_ms(until), np.float64),
                "topics": np.full(2, artefacts.interests + 1.0),
                "surfaces": np.full(2, float(len(artefacts.surfaces))),
            }
        ),
        "cohorts": dense({"strength": _and_unknown(artefacts.arrays["cohort_interest"].ravel())}),
        "cohort_totals": dense({"strength": _and_unknown(_totals(artefacts.arrays["cohort_interest"]))}),
        "priors": dense({"share": _and_unknown(artefacts.arrays["prior"].ravel())}),
    }


def landmark_ms(until: int) -> int:
    """The first moment of a day (yyyymmdd) by UTC."""
    return int(datetime(until // 10_000, until // 100 % 100, until % 100, tzinfo=UTC).timestamp() * 1000)


def _posts(posts: Posts) -> AttributeTable:
    columns: dict[str, NDArray[Any]] = {kind: posts.slots[:, at].astype(np.float64) for at, kind in enumerate(KINDS)}
    columns |= {
        "listed": np.append(np.ones(posts.unlisted), 0.0),
        "created_ms": posts.catalog.items.created_ms.astype(np.float64),
        "length_s": posts.length_s,
        "ad": posts.is_ad,
    }
    return AttributeTable.of(posts.catalog.items.ids, columns, name="posts")


def _surfaces(artefacts: Artefacts, codes: Mapping[str, int]) -> AttributeTable:
    """Surfaces by code; of one that training did not know there is no row, and without a plan no strength."""
    rows = {name: row for row, name in enumerate(artefacts.surfaces)}
    plans = artefacts.plans
    strength = [plans[name].prior_strength if name in plans else 0.0 for name in codes]
    columns = {
        "row": _and_unknown([rows.get(name, -1) for name in codes], -1.0),
        "prior_strength": _and_unknown(strength),
    }
    return AttributeTable.of(np.array(list(codes.values()), np.int64), columns, name="surfaces")


def _totals(strengths: NDArray[Any]) -> NDArray[np.float64]:
    """Each cohort's strengths together, added as the program adds them."""
    return np.array([row.sum() for row in strengths], np.float64)


def _and_unknown(values: Any, unknown: float = 0.0) -> NDArray[np.float64]:
    return np.append(np.asarray(values, np.float64), unknown)
