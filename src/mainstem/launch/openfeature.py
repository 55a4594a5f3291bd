"""The ramp as feature flags: our assignment behind the OpenFeature SDK, and somebody else's flags in place of our assignment.

A server asks ``OutsideArms``, whose flag is a text and names the arm; ``OutsideRamp`` reads a boolean flag, for analyses of one
step: who is not on the new stack is control there, so units change arms from step to step.

The SDK (``openfeature-sdk``) is not needed to import this; it is when a flag is resolved.

Source: the OpenFeature specification, provider interface.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import CONTROL, OUTSIDE, TREATMENT, Launch

Plain = bool | int | float | str


class RampProvider:
    """An OpenFeature provider whose flags are launches: true, or ``treatment``, on the new stack.

    A flag's key is the launch's name and the targeting key is the unit. A boolean flag is true in the treatment arm; a string
    flag is the arm's name; an object flag is both, with the launch's name. A unit in no arm gets the caller's default.

    Args:
        launches: What is in force.
        whole_numbers: Whether a targeting key of digits is the whole number, as the platform's own ids are. Where ids are text
            even if they look like numbers, say False: text and number stand at different places of the line.
    """

    def __init__(self, launches: Mapping[str, Launch], *, whole_numbers: bool = True) -> None:
        self._launches = dict(launches)
        self._whole_numbers = whole_numbers
        self._emit: Callable[..., None] | None = None

    def update(self, launches: Mapping[str, Launch]) -> None:
        """Puts other launches in force from the next evaluation on, and tells the SDK which flags changed."""
        before, self._launches = self._launches, dict(launches)
        changed = sorted(name for name in {*before, *launches} if before.get(name) != launches.get(name))
        if self._emit is not None and changed:
            event = importlib.import_module("openfeature.event")
            self._emit(
                self,
                event.ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
                event.ProviderEventDetails(flags_changed=changed),
            )

    def attach(self, on_emit: Callable[..., None]) -> None:
        """Called by the SDK: where events go."""
        self._emit = on_emit

    def detach(self) -> None:
        """Called by the SDK: no events any more."""
        self._emit = None

    def initialize(self, evaluation_context: object) -> None:
        """Called by the SDK; there is nothing to wait for."""

    def shutdown(self) -> None:
        """Called by the SDK; there is nothing to close."""

    def get_metadata(self) -> object:
        """What this provider is called."""
        return importlib.import_module("openfeature.provider").Metadata(name="mainstem launch")

    def get_provider_hooks(self) -> list[Any]:
        """No hooks."""
        return []

    def track(self, tracking_event_name: str, evaluation_context: object = None, details: object = None) -> None:
        """Outcomes are read from the platform's own log; this drops them."""

    def resolve_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: object = None) -> object:
        """Whether the unit is on the new stack."""
        return self._resolve(flag_key, default_value, evaluation_context, lambda arm: arm == TREATMENT)

    def resolve_string_details(self, flag_key: str, default_value: str, evaluation_context: object = None) -> object:
        """The unit's arm."""
        return self._resolve(flag_key, default_value, evaluation_context, lambda arm: arm)

    def resolve_object_details(self, flag_key: str, default_value: object, evaluation_context: object = None) -> object:
        """The unit's arm and the launch's name."""
        return self._resolve(flag_key, default_value, evaluation_context, lambda arm: {"arm": arm, "launch": flag_key})

    def resolve_integer_details(self, flag_key: str, default_value: int, evaluation_context: object = None) -> object:
        """Refused: an arm is no number."""
        return self._resolve(flag_key, default_value, evaluation_context, None)

    def resolve_float_details(self, flag_key: str, default_value: float, evaluation_context: object = None) -> object:
        """Refused: an arm is no number."""
        return self._resolve(flag_key, default_value, evaluation_context, None)

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: object = None
    ) -> object:
        """As ``resolve_boolean_details``; nothing is waited for."""
        return self.resolve_boolean_details(flag_key, default_value, evaluation_context)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: object = None
    ) -> object:
        """As ``resolve_string_details``."""
        return self.resolve_string_details(flag_key, default_value, evaluation_context)

    async def resolve_object_details_async(
        self, flag_key: str, default_value: object, evaluation_context: object = None
    ) -> object:
        """As ``resolve_object_details``."""
        return self.resolve_object_details(flag_key, default_value, evaluation_context)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: object = None
    ) -> object:
        """As ``resolve_integer_details``."""
        return self.resolve_integer_details(flag_key, default_value, evaluation_context)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: object = None
    ) -> object:
        """As ``resolve_float_details``."""
        return self.resolve_float_details(flag_key, default_value, evaluation_context)

    def _resolve(self, flag: str, default: object, context: object, told: Callable[[str], object] | None) -> object:
        sdk: Any = importlib.import_module("openfeature.flag_evaluation")
        codes: Any = importlib.import_module("openfeature.exception").ErrorCode
        unit = getattr(context, "targeting_key", None)
        launch = self._launches.get(flag)
        if launch is None or not unit or told is None:
            code, why = (
                (codes.FLAG_NOT_FOUND, f"no launch {flag!r} is in force")
                if launch is None
                else (codes.TYPE_MISMATCH, "a launch is a boolean, string or object flag")
                if told is None
                else (codes.TARGETING_KEY_MISSING, "the targeting key names the unit")
            )
            return sdk.FlagResolutionDetails(default, error_code=code, error_message=why, reason=sdk.Reason.ERROR)
        number = self._whole_numbers and unit.removeprefix("-").isdecimal()
        arm = launch.arm_of(int(unit) if number else unit)
        if arm is None:
            return sdk.FlagResolutionDetails(default, reason=sdk.Reason.DEFAULT)
        return sdk.FlagResolutionDetails(told(arm), reason=sdk.Reason.SPLIT, variant=arm)


class FlagClient(Protocol):
    """What is asked of an outside provider: the SDK's client, or anything that answers as it does."""

    def get_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: Any = None) -> Any:
        """A flag's value with its reason and, where it failed, its error."""
        ...

    def get_string_details(self, flag_key: str, default_value: str, evaluation_context: Any = None) -> Any:
        """The same for a flag whose value is a text."""
        ...


@dataclass(frozen=True, slots=True)
class Allotted:
    """What an outside provider said of one unit.

    Attributes:
        arm: ``treatment``, ``control``, or None where the flag says nothing of the unit.
        failed: Why it could not be asked; the unit then gets the old stack and is not counted.
    """

    arm: str | None
    failed: str = ""


class OutsideRamp:
    """A ramp that somebody else's flags drive: the same questions as of ``Launch``, asked of an OpenFeature client.

    A flag that fails, or that falls back to its default, puts nobody on the new stack and into no arm: a fault of the flag
    service never exposes anyone.

    Args:
        client: From ``openfeature.api.get_client()``.
        flag: The boolean flag that is true on the new stack.
    """

    arms = (TREATMENT, CONTROL)

    def __init__(self, client: FlagClient, flag: str) -> None:
        self._client = client
        self._flag = flag

    def ask(self, unit: str | int) -> Allotted:
        """What the provider says of one unit."""
        context: Any = importlib.import_module("openfeature.evaluation_context").EvaluationContext(str(unit))
        told = self._client.get_boolean_details(self._flag, False, context)
        if told.error_code is not None:
            return Allotted(None, f"{told.error_code}: {told.error_message or ''}".rstrip(": "))
        if str(told.reason) in ("DEFAULT", "DISABLED", "ERROR"):
            return Allotted(None)
        return Allotted(TREATMENT if told.value else CONTROL)

    def arm_of(self, unit: str | int) -> str | None:
        """The arm of one unit, or None."""
        return self.ask(unit).arm

    def assign(self, units: Sequence[str] | Sequence[int]) -> NDArray[np.int8]:
        """The arm of each unit as a place in ``arms``; ``OUTSIDE`` where it is in none.

        Raises:
            LaunchError: The flag failed for every unit (``launch-074``).

        Shapes: units ``[n]``, answer ``[n]``.
        """
        told = [self.ask(unit) for unit in units]
        if told and all(one.failed for one in told):
            raise LaunchError(
                f"found no answer to flag {self._flag!r} for any of {len(told)} units: {told[0].failed}",
                code="launch-074",
                hint="see that the outside provider is registered and knows the flag",
            )
        return np.array([OUTSIDE if one.arm is None else self.arms.index(one.arm) for one in told], np.int8)


class OutsideArms:
    """Arms that somebody else's flags give: a flag's text is ``treatment`` or ``control``; any other text is no arm.

    A flag that fails, or says an arm only because it fell back to its default, puts the unit into no arm. Never raises.

    Args:
        client: From ``provided``, or ``openfeature.api.get_client()``.
    """

    def __init__(self, client: FlagClient) -> None:
        self._client = client
        self._context: Any = importlib.import_module("openfeature.evaluation_context").EvaluationContext

    def ask(self, flag: str, unit: str) -> Allotted:
        """What the provider says of one unit."""
        try:
            told = self._client.get_string_details(flag, "", self._context(unit))
        except Exception as error:  # another's code: whatever it does, nobody is exposed
            return Allotted(None, f"{type(error).__name__}: {error}"[:160])
        if told.error_code is not None:
            return Allotted(None, f"{told.error_code}: {told.error_message or ''}".rstrip(": ")[:160])
        value, reason = told.value, str(told.reason)
        arm = value if value in (TREATMENT, CONTROL) else None
        if reason in _FELL_BACK and (arm is not None or not value):
            return Allotted(None, f"it fell back to its default (reason {reason})")
        return Allotted(arm)


_FELL_BACK = ("DEFAULT", "DISABLED", "ERROR")
DOMAIN = "mainstem"
"""The SDK's domain of the provider that a server is set to ask: another default provider of the process stays as it is."""


def provided(named: str) -> tuple[FlagClient, Callable[[], None]]:
    """A client of the provider that a setting names, and what ends the provider.

    Args:
        named: ``module:name`` of a provider, or of what makes one when called.

    Raises:
        LaunchError: There is no such module or name, it is no provider, or the SDK is not installed (``launch-132``).
    """
    module, _, name = named.partition(":")
    try:
        api = importlib.import_module("openfeature.api")
        found: Any = getattr(importlib.import_module(module), name)
        if not hasattr(found, "resolve_string_details") or isinstance(found, type):
            found = found()
        if not hasattr(found, "resolve_string_details"):
            raise TypeError(f"a {type(found).__name__} resolves no flags")
        api.set_provider(found, DOMAIN)
    except Exception as error:  # another's code is imported and called here
        raise LaunchError(
            f"found no OpenFeature provider by [serve] flags = {named!r}: {type(error).__name__}: {error}",
            code="launch-132",
            hint="module:name of a provider that can be imported here; the SDK comes with pip install 'mainstem[openfeature]'",
        ) from error
    return api.get_client(DOMAIN), getattr(found, "shutdown", _nothing)


def _nothing() -> None:
    """What ends a provider that has nothing to end."""
