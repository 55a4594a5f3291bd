"""Which settings there are, and what a workspace's ``mainstem.toml`` says about them.

The records below are the register: a field's default and the sentence under it are what ``mainstem config show`` and the
reference page print. Order of precedence: default, file, environment (``MAINSTEM_SERVE_PORT``), flag.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from mainstem.base.errors import ConfigError, did_you_mean

FILE = "mainstem.toml"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings that refuses names it does not know."""


class Data(Record, frozen=True, kw_only=True):
    """Where the log comes from and how its columns map (docs/guides/data.md)."""

    path: str = ""
    """Folder or file of the source log; empty means the workspace has none yet."""
    loader: str = ""
    """kuairand, movielens, retailrocket or table; empty detects it."""
    columns: dict[str, str] = {}
    """Our column = the file's column, or an expression over them."""
    surfaces: dict[str, list[int | str]] = {}
    """Surface = the scenario values that belong to it; a surface without a list takes the rest."""
    heads: dict[str, str] = {}
    """Head = a column, or a comparison such as ``watch_ms >= 0.7 * duration_ms``."""
    time: dict[str, str] = {}
    """``unit`` (s, ms, us, iso) and ``zone`` (such as Asia/Shanghai) of the time column."""
    items: str = ""
    """A table of item attributes beside the log."""
    users: str = ""
    """A table of user attributes beside the log."""


class Training(Record, frozen=True, kw_only=True):
    """How the unified model is trained."""

    validation_day: int = 0
    """yyyymmdd; 0 takes the day before the first test day."""
    test_days: list[int] = []
    """First and last test day, yyyymmdd; empty takes the last 40 % of the days."""
    epochs: int = 0
    """0 lets early stopping decide."""
    feedback_delay_ms: int = 60_000
    """How long after an impression its outcome is known to later requests."""


class Ranker(Record, frozen=True, kw_only=True):
    """What scores candidates, and what a smaller copy of it may lose (docs/guides/models-in-and-out.md)."""

    brought: str = ""
    """A model of another team (`mainstem bring`) that ranks in place of the trained network; empty: the network ranks."""
    int8_loss: float = 0.002
    """The most AUC, and the largest share of its log loss, that a head may lose when a model is exported in 8 bits."""


class Retrieval(Record, frozen=True, kw_only=True):
    """What is learned to find candidates (docs/concepts/retrieval.md)."""

    encoder: bool = False
    """Also trains a neural encoder of sequences as a further source; needs PyTorch and a minute of one core."""


class FeatureTable(Record, frozen=True, kw_only=True):
    """A table of facts that declared features may name."""

    path: str
    """A Parquet file, relative to the workspace."""
    key: str = "item_id"
    """The column with the ids; a column of lists is a column of vectors."""
    valid_from: str = ""
    """The column with the time in ms from which a row holds; empty: every row always held."""


class Features(Record, frozen=True, kw_only=True):
    """What is known of users and items when a request comes (docs/guides/add-a-feature.md)."""

    definitions: str = ""
    """A Python file of the workspace that declares further features."""
    tables: dict[str, FeatureTable] = {}
    """Tables of facts by the name under which an ``Attribute`` names them."""
    limit_mb: int = 0
    """Memory the feature state never grows beyond; 0 sets no limit."""


class Serve(Record, frozen=True, kw_only=True):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Loopback unless told."""
    port: int = 8400
    workers: int = 1
    """Processes; each follows the event log."""
    token: str = ""
    """Asked for on every write (``Authorization: Bearer …``); empty makes one at start and prints it."""
    body_limit_bytes: int = 1_000_000
    """Larger request bodies are refused with 413."""
    queue_limit: int = 64
    """Requests in flight above this are refused with 429."""
    client_rate_per_s: float = 0
    """Requests a second that one client address may send on average; 0 is no limit."""
    request_budget_ms: int = 250
    """After this a request is answered from the fallback."""
    source_budget_ms: int = 50
    """After this a source is left out."""
    remote_budget_ms: int = 1_000
    """After this an outside stack is left out."""
    clock: str = "system"
    """What "now" is when a request does not say: ``system``; ``log`` to serve a past log from where it ends; or ``records``, the
    latest time of any request so far, to play days through."""
    pilot_every_s: float = 60
    """Seconds between two looks of the pilot at launches under way, in a process of its own; 0 flies none."""
    flags: str = ""
    """``module:name`` of the OpenFeature provider (or what makes one) that is asked for the flags of a launch's ``[flags]``."""
    flags_wait_ms: int = 20
    """After this a flag counts as failed; 0 asks on the event loop, for providers that evaluate without a network."""
    flags_keep_s: float = 60
    """How long a flag's answer for a viewer holds; acts of the book hold at once all the same."""
    shadow_share: float = 0.1
    """Share of live requests mirrored to the other stacks, off the hot path."""
    shadow_to: list[str] = []
    """Which stacks live requests are mirrored to; empty means every remote one."""


class Remote(Record, frozen=True, kw_only=True):
    """An outside stack behind HTTP (docs/reference/remote-protocol.md)."""

    url: str
    """Where it listens, such as http://127.0.0.1:8501."""


class Rules(Record, frozen=True, kw_only=True):
    """What a slate of this surface must and must not do. Rules run in the order of these fields."""

    integrity: str = "closed"
    """What happens when the safety lookup fails: ``closed`` drops the item, ``open`` shows it."""
    seen: int = 50
    """Items among the viewer's last this many impressions are not shown again; 0 switches the rule off."""
    originals: bool = True
    """Of reposts of one original, only the best stays."""
    creator_cap: int = 2
    """Most items of one creator on a slate; 0 switches the rule off."""
    quotas: dict[str, int] = {}
    """Source = at least this many of the slate come from it when it has any."""
    variety: float = 0.9
    """Each further item of one category keeps this share of its value; 1 switches the rule off."""
    variety_by: str = "discount"
    """How variety chooses: ``discount``, ``determinantal`` or ``sliding_spectrum`` (docs/concepts/control.md)."""
    exploration_share: float = 0.05
    """Share of slots given to a random candidate, with its propensity logged; 0 switches it off."""
    caps: dict[str, int] = {}
    """Item attribute = most items of one value of it on a slate. Never broken."""
    spacing: dict[str, int] = {}
    """Item attribute = at least this many other items stand between two of one value of it."""
    soft_quotas: dict[str, int] = {}
    """As ``quotas``, but a place is only given while it costs less value than ``soft_price``."""
    soft_price: float = 0.0
    """Most value one place of a soft quota may cost."""
    day_caps: dict[str, int] = {}
    """Item attribute = most items of one value of it a viewer is shown in a day, over all requests and processes."""
    fatigue: float = 1.0
    """Each impression of a creator today keeps this share of the value of their next item; 1 switches the rule off."""
    floors: dict[str, float] = {}
    """Group = share of the surface's places it gets over a day, kept by a controller."""
    on_failure: dict[str, str] = {}
    """Rule = ``closed`` (drop what could not be looked up) or ``open`` (show it) when its lookup fails."""


class Surface(Record, frozen=True, kw_only=True):
    """What one surface values and what it must never do. ``extends`` inherits every setting that is not given."""

    extends: str = ""
    """The surface to inherit from."""
    count: int = 10
    """Items on a slate when the request does not say."""
    value: str = "long_view + 0.5 * click + 2 * like + 4 * follow + 3 * comment + 3 * forward - 20 * hate"
    """One expression over the heads and ``weights``; higher is better (docs/concepts/value.md)."""
    weights: dict[str, float | str] = {}
    """Named numbers ``value`` may read, inherited key by key; one with a unit is written ``"0.02 / s"``."""
    owner: str = ""
    """Who answers for what this surface values and hides."""
    candidates: int = 1_000
    """Most candidates after the union."""
    rank: int = 500
    """Most candidates the model scores."""
    sources: dict[str, int] = {}
    """Source = most candidates it may offer; a source at 0 is off."""
    teacher: str = ""
    """Which legacy stack carries it today (content-first or interest-first), for ``neutral`` in ``value``; empty: by its name."""
    rules: Rules = Rules()


CLOCKS = ("system", "log", "records")
"""What ``serve.clock`` may be."""

VARIETIES = ("discount", "determinantal", "sliding_spectrum")
"""How ``variety_by`` may choose."""

TEACHER_OF = {"feed": "content-first", "groups": "interest-first", "pages": "interest-first"}
"""Which legacy stack carries a surface when its settings do not say; content-first carries any other."""


class Settings(Record, frozen=True, kw_only=True):
    """Everything a workspace can set."""

    name: str = "mainstem"
    """Shown on the pages."""
    seed: int = 7
    """Same seed, same figures."""
    data: Data = Data()
    training: Training = Training()
    retrieval: Retrieval = Retrieval()
    ranker: Ranker = Ranker()
    features: Features = Features()
    serve: Serve = Serve()
    surfaces: dict[str, Surface] = {}
    """By name. ``base`` is not served; others may extend it."""
    groups: dict[str, str] = {}
    """Group of items = a comparison of one item attribute, such as ``small_creators = "creator_items <= 3"``."""
    remote: dict[str, Remote] = {}
    """Outside stacks by name."""

    def served(self) -> dict[str, Surface]:
        """The surfaces that answer requests; the built-in three when the file names none."""
        named = {name: surface for name, surface in self.surfaces.items() if name != "base"}
        base = self.surfaces.get("base", Surface())
        return named or dict.fromkeys(("feed", "groups", "pages"), base)


def read_settings(workspace: Path, environment: dict[str, str] | None = None) -> Settings:
    """What this workspace is set to: defaults, then its ``mainstem.toml``, then ``MAINSTEM_…`` variables.

    Raises:
        ConfigError: The file is not TOML (``config-002``), a key is unknown (``config-001``), a value has the wrong type or
            is out of bounds (``config-003``), or inheritance names a missing surface or goes in a circle (``config-004``).
    """
    file = workspace / FILE
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return parse_settings(text, str(file), os.environ if environment is None else environment)


def parse_settings(text: str, where: str = FILE, environment: Any = None) -> Settings:
    """The settings a TOML text holds; see ``read_settings``."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not TOML: {error}", code="config-002") from None
    _apply_environment(given, environment or {})
    return settings_from(given, where, text)


def settings_from(given: dict[str, Any], where: str = FILE, text: str = "") -> Settings:
    """The settings that tables of plain values hold, as a TOML file has them; see ``read_settings``."""
    given["surfaces"] = _inherited(given.get("surfaces", {}), where)
    _refuse_unknown(given, Settings, "", text, where)
    try:
        return _checked(msgspec.convert(given, Settings), where)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}", code="config-003") from None


def _checked(settings: Settings, where: str) -> Settings:
    shares = {"serve.shadow_share": settings.serve.shadow_share, "ranker.int8_loss": settings.ranker.int8_loss}
    for name, surface in settings.surfaces.items():
        shares[f"surfaces.{name}.rules.exploration_share"] = surface.rules.exploration_share
        shares[f"surfaces.{name}.rules.variety"] = surface.rules.variety
        shares[f"surfaces.{name}.rules.fatigue"] = surface.rules.fatigue
        shares |= {f"surfaces.{name}.rules.floors.{group}": share for group, share in surface.rules.floors.items()}
        _check_slate_rules(surface.rules, f"{where}: surfaces.{name}.rules")
        if surface.rules.integrity not in ("open", "closed"):
            raise ConfigError(
                f"{where}: surfaces.{name}.rules.integrity is {surface.rules.integrity!r}, must be open or closed",
                code="config-003",
            )
        if min(surface.count, surface.candidates, surface.rank) < 1:
            raise ConfigError(
                f"{where}: surfaces.{name}: count, candidates and rank must be at least 1", code="config-003"
            )
    if settings.serve.clock not in CLOCKS:
        raise ConfigError(
            f"{where}: serve.clock is {settings.serve.clock!r}, must be one of {', '.join(CLOCKS)}", code="config-003"
        )
    for key, share in shares.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"{where}: {key} is {share}, must be between 0 and 1", code="config-003")
    return settings


def _check_slate_rules(rules: Rules, where: str) -> None:
    """Refuses what no slate can make sense of; what rules say against each other is asked where items are known."""
    if rules.variety_by not in VARIETIES:
        raise ConfigError(
            f"{where}.variety_by is {rules.variety_by!r}, must be one of {', '.join(VARIETIES)}",
            code="config-003",
            hint=did_you_mean(rules.variety_by, VARIETIES),
        )
    whole = {"seen": rules.seen, "creator_cap": rules.creator_cap, "soft_price": rules.soft_price}
    for table in ("quotas", "caps", "spacing", "soft_quotas", "day_caps"):
        whole |= {f"{table}.{key}": number for key, number in getattr(rules, table).items()}
    for key, number in whole.items():
        if not 0 <= number < float("inf"):
            raise ConfigError(f"{where}.{key} is {number}, must be 0 or more", code="config-003")


def _inherited(surfaces: dict[str, Any], where: str) -> dict[str, Any]:
    """Every surface with what it inherits filled in; tables merge key by key."""

    def resolve(name: str, path: tuple[str, ...]) -> dict[str, Any]:
        if name in path:
            raise ConfigError(f"{where}: surfaces inherit in a circle: {' → '.join((*path, name))}", code="config-004")
        own = surfaces[name]
        parent = own.get("extends", "")
        if not parent:
            return own
        if parent not in surfaces:
            raise ConfigError(
                f"{where}: surfaces.{name} extends {parent!r}, which is not there",
                code="config-004",
                hint=did_you_mean(parent, surfaces),
            )
        return _merged(resolve(parent, (*path, name)), own)

    return {name: resolve(name, ()) for name in surfaces}


def _merged(parent: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(parent)
    for key, value in own.items():
        both_tables = isinstance(value, dict) and isinstance(parent.get(key), dict)
        merged[key] = _merged(parent[key], value) if both_tables else value
    return merged


def _refuse_unknown(given: Any, record: Any, path: str, text: str, where: str) -> None:
    """Names the first key that no record has, the line it stands in, and what was probably meant."""
    fields = {field.name: field.type for field in msgspec.structs.fields(record)}
    for key, value in given.items():
        if key not in fields:
            raise ConfigError(
                f"unknown setting {path + key!r} in {where}{_line_of(key, text)}",
                code="config-001",
                hint=did_you_mean(key, fields),
            )
        inner = fields[key]
        if isinstance(inner, type) and issubclass(inner, Record) and isinstance(value, dict):
            _refuse_unknown(value, inner, f"{path}{key}.", text, where)
        elif key in ("surfaces", "remote") and isinstance(value, dict) and record is Settings:
            for name, table in value.items():
                _refuse_unknown(table, Surface if key == "surfaces" else Remote, f"{path}{key}.{name}.", text, where)


def _line_of(key: str, text: str) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.split("=")[0].strip().split(".")[-1].strip("[] \"'") == key:
            return f":{number}"
    return ""


def _apply_environment(given: dict[str, Any], environment: Any) -> None:
    """``MAINSTEM_SERVE_PORT=8500`` stands for ``[serve] port``; only scalars of [serve] and the seed can be set so."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Serve)}
    for name, kind in fields.items():
        value = environment.get(f"MAINSTEM_SERVE_{name.upper()}")
        if value is not None and kind in (int, float, str):
            given.setdefault("serve", {})[name] = _number(value, kind, f"MAINSTEM_SERVE_{name.upper()}")
    if environment.get("MAINSTEM_SEED"):
        given["seed"] = _number(environment["MAINSTEM_SEED"], int, "MAINSTEM_SEED")


def _number(value: str, kind: type, name: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(
            f"environment variable {name} is {value!r}, must be {kind.__name__}", code="config-003"
        ) from None
