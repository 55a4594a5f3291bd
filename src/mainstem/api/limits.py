"""Who may write, and how often one client may ask."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import Scope

from mainstem.api.bodies import header
from mainstem.base.errors import RequestError

CLIENTS: Final = 10_000
"""Most clients whose rate is remembered; the one that asked longest ago is forgotten first."""


def new_token() -> str:
    """A fresh token for writes."""
    return secrets.token_urlsafe(24)


class Token:
    """The secret that writes need.

    Args:
        token: The secret; empty refuses every write.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, scope: Scope) -> None:
        """Lets a request with the token pass; compares in constant time.

        Raises:
            RequestError: It has none, or another (``serve-006``).
        """
        given = header(scope, b"authorization") or b""
        kind, _, secret = given.partition(b" ")
        same = hmac.compare_digest(secret.strip(), self._token)
        if not (self._token and kind.lower() == b"bearer" and same):
            raise RequestError(
                "the write has no valid token" if given else "the write has no token",
                code="serve-006",
                status=401,
                hint="send 'Authorization: Bearer TOKEN'; the server prints its token once when it starts",
            )


class Rates:
    """A token bucket for each client address.

    Args:
        per_s: Requests a second that one client may send on average; 0 is no limit. It may send twice as many at once.
        seconds: A clock in seconds that never goes back.
    """

    def __init__(self, per_s: float, seconds: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = max(1.0, 2 * per_s)
        self._seconds = seconds
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, scope: Scope) -> None:
        """Counts one request of this client.

        Raises:
            RequestError: It asks too often (``serve-007``).
        """
        if not self._per_s:
            return
        client = (scope.get("client") or ("", 0))[0]
        now_s = self._seconds()
        left, since_s = self._left.pop(client, (self._burst, now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_s)
        self._left[client] = (left - 1 if left >= 1 else left, now_s)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        if left < 1:
            raise RequestError(
                f"this client asks more than {self._per_s:g} times a second",
                code="serve-007",
                status=429,
                hint="try again after Retry-After seconds",
            )
