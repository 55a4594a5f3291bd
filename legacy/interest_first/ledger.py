"""What control remembers between requests: what wears off, what was shown, and which interests are owed a place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .folder import HOUR_MS
from .plans import Plan


@dataclass(slots=True)
class Account:
    """One user's account. Times are those of the requests, never a clock."""

    interest: np.ndarray
    """[interests + 1] how often each was shown lately, as of `at_ms`."""
    debt: np.ndarray
    """[interests + 1] places owed."""
    entity: dict[int, float]
    shown_ms: dict[int, int]
    at_ms: int = 0


class Ledger:
    """Changes on `rank` only, and is emptied by a reset."""

    def __init__(self, interests: int) -> None:
        self._interests = interests
        self._accounts: dict[int, Account] = {}

    def clear(self) -> None:
        """Forgets everybody."""
        self._accounts.clear()

    def fatigue(self, user_id: int, interest: np.ndarray, entity: np.ndarray, now_ms: int, plan: Plan) -> np.ndarray:
        """How tired the user is of each candidate's interest and entity; the score carries exp(-fatigue)."""
        account = self._accounts.get(user_id)
        if account is None:
            return np.zeros(len(interest))
        fade = _fade(account, now_ms, plan)
        slots = np.fromiter(account.entity, dtype=np.int64, count=len(account.entity))
        counts = np.fromiter(account.entity.values(), dtype=np.float64, count=len(slots))
        order = np.argsort(slots)
        at = np.minimum(np.searchsorted(slots[order], entity), len(slots) - 1)
        tired = np.where(slots[order][at] == entity, counts[order][at], 0.0) if len(slots) else 0.0
        return (plan.fatigue_interest * account.interest[interest] + plan.fatigue_entity * tired) * fade

    def cooling(self, user_id: int, rows: np.ndarray, now_ms: int, plan: Plan) -> np.ndarray:
        """Which candidates we showed this user so lately that they must wait."""
        account = self._accounts.get(user_id)
        if account is None:
            return np.zeros(len(rows), dtype=bool)
        since = now_ms - plan.cooldown_h * HOUR_MS
        return np.isin(rows, [row for row, shown_ms in account.shown_ms.items() if shown_ms > since])

    def debt(self, user_id: int) -> np.ndarray:
        """[interests + 1] places owed to each interest."""
        account = self._accounts.get(user_id)
        return np.zeros(self._interests) if account is None else account.debt

    def book(
        self, user_id: int, rows: np.ndarray, interest: np.ndarray, entity: np.ndarray, missed: np.ndarray, now_ms: int, plan: Plan
    ) -> None:  # fmt: skip
        """Writes a slate down: what was shown, and by how many places each interest missed its floor."""
        account = self._accounts.get(user_id)
        if account is None:
            account = self._accounts[user_id] = Account(np.zeros(self._interests), np.zeros(self._interests), {}, {})
        fade = _fade(account, now_ms, plan)
        account.interest = account.interest * fade + np.bincount(interest, minlength=self._interests)
        account.entity = {slot: count * fade for slot, count in account.entity.items() if count * fade > 0.01}
        for slot in entity.tolist():
            account.entity[slot] = account.entity.get(slot, 0.0) + 1.0
        since = now_ms - plan.cooldown_h * HOUR_MS
        account.shown_ms = {row: at_ms for row, at_ms in account.shown_ms.items() if at_ms > since}
        account.shown_ms |= dict.fromkeys(rows.tolist(), now_ms)
        account.debt = np.round(account.debt * plan.debt_decay + missed, 9)
        account.at_ms = max(account.at_ms, now_ms)


def _fade(account: Account, now_ms: int, plan: Plan) -> float:
    return 0.5 ** (max(now_ms - account.at_ms, 0) / (plan.fatigue_half_life_h * HOUR_MS))
