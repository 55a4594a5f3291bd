"""Do the declared features make sense together: one name each, no circles, everything they read is there?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.language.aggregate import Aggregate, Latest
from mainstem.features.language.expression import CONSTANTS
from mainstem.features.language.feature import Attribute, Context, Feature, Listed, PythonFunction, Role
from mainstem.features.language.fold import Fold
from mainstem.features.language.matched import Matched
from mainstem.features.language.names import in_order, names_in
from mainstem.features.language.source import Source


class FeatureSet:
    """Features that are computed together.

    Args:
        features: In the order of the ranker's columns.

    Raises:
        FeatureError: Two have one name (``feature-001``), some read each other in a circle (``feature-002``), an aggregate has
            no source or key (``feature-006``), or a name is read that nobody declares (``feature-031``).
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        self.by_name: dict[str, Feature] = {}
        self.owner_of: dict[str, Feature] = {}
        for feature in self.features:
            for column in {feature.name, *feature.columns, *feature.tells}:
                if column in self.owner_of:
                    raise _twice(column, self.owner_of[column], feature)
                self.owner_of[column] = feature
            self.by_name[feature.name] = feature
            _well_formed(feature)
        self._reads = {feature.name: tuple(self._read_by(feature)) for feature in self.features}
        self.order = in_order(self._reads)
        for feature in self.features:
            self._all_known(feature)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    def with_more(self, features: Sequence[Feature]) -> FeatureSet:
        """This set and further features."""
        return FeatureSet((*self.features, *features))

    def only(self, names: Sequence[str]) -> FeatureSet:
        """Some features, with everything behind them and what requests carry: enough to compute just these."""
        wanted = set(names) | {inner for name in names for inner in self.everything_behind(name)}
        return FeatureSet([f for f in self.features if f.name in wanted or isinstance(f.of, Context)])

    def columns_of(self, role: Role) -> tuple[str, ...]:
        """The columns of one side of the ranker's input, in order."""
        return tuple(column for feature in self.features if feature.role == role for column in feature.columns)

    def defaults_of(self, role: Role) -> list[float]:
        """What each of these columns is when its lookup failed."""
        return [feature.default for feature in self.features if feature.role == role for _ in feature.columns]

    def reads(self, name: str) -> tuple[str, ...]:
        """The declared features that a feature reads directly."""
        return self._reads[name]

    def everything_behind(self, name: str) -> tuple[str, ...]:
        """Every feature that a feature reads, directly or not."""
        found: dict[str, None] = {}
        stack = list(self._reads[name])
        while stack:
            inner = stack.pop()
            if inner not in found:
                found[inner] = None
                stack.extend(self._reads[inner])
        return tuple(found)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The sources, each after those whose features it sees."""
        named: dict[str, Source] = {}
        for name in self.order:
            source = self.by_name[name].source
            if source is not None and named.setdefault(source.name, source) != source:
                raise FeatureError(
                    f"two different sources are called {source.name!r}",
                    code="feature-001",
                    hint="give one of them another name",
                )
        return tuple(named.values())

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """A hash of each feature's own meaning: its definition and its source; what it reads counts by name."""
        out: dict[str, str] = {}
        for name in self.order:
            feature = self.by_name[name]
            whole = {
                "feature": feature.described(),
                "source": feature.source.described() if feature.source else None,
                "reads": sorted(self._reads[name]),
            }
            out[name] = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]
        return out

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the meaning, roles and order of what a ranker reads, and of everything behind it.

        Models with the same one read the same columns; a feature that no ranker reads yet changes nothing here.
        """
        read = {f.name for f in self.features if f.role}
        read |= {inner for name in list(read) for inner in self.everything_behind(name)}
        parts = [(f.name, f.role, f.version, self.fingerprints[f.name]) for f in self.features if f.name in read]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def _read_by(self, feature: Feature) -> list[str]:
        """The features that a feature's definition names."""
        names: dict[str, None] = {}
        for text in _texts(feature):
            names.update(dict.fromkeys(names_in(text, f"feature {feature.name!r}")))
        for source in filter(None, (feature.source,)):
            names.update(dict.fromkeys(source.sees))
            for text in (*source.derive.values(), *([source.where] if source.where else [])):
                names.update(dict.fromkeys(names_in(text, f"source {source.name!r}")))
            names = {name: None for name in names if name not in source.columns and name not in source.derive}
        # A key is read on both sides: what an event's column says, a request may have to look up or derive.
        names |= dict.fromkeys(feature.key)
        if feature.zone == "local":
            names["utc_offset_ms"] = None
        owners = {self.owner_of[name].name: None for name in names if name in self.owner_of}
        return [name for name in owners if name != feature.name or feature.name in names]

    def _all_known(self, feature: Feature) -> None:
        source = feature.source
        here = {*source.columns, *source.derive, "time_ms"} if source else set()
        for text in _texts(feature):
            for name in names_in(text, f"feature {feature.name!r}"):
                if name not in self.owner_of and name not in here and name not in CONSTANTS:
                    raise FeatureError(
                        f"feature {feature.name!r} reads {name!r}, which nobody declares",
                        code="feature-031",
                        hint=did_you_mean(name, {*self.owner_of, *here}),
                    )


def _texts(feature: Feature) -> list[str]:
    """Every expression a feature is made of."""
    of = feature.of
    if isinstance(of, str):
        return [of]
    if isinstance(of, Aggregate):
        return [*(part.value for part in of.parts.values()), *feature.key]
    if isinstance(of, Latest):
        return [*of.fields.values(), *([of.where] if of.where else []), *feature.key]
    if isinstance(of, Fold):
        return [*of.takes.values(), *feature.key]
    if isinstance(of, Attribute):
        return [of.key]
    if isinstance(of, Matched):
        return [of.key, of.to, *of.values]
    if isinstance(of, Listed):
        return [of.column]
    return list(of.reads) if isinstance(of, PythonFunction) else []


def _well_formed(feature: Feature) -> None:
    aggregated = isinstance(feature.of, Aggregate | Latest | Fold)
    if aggregated and (feature.source is None or not 1 <= len(feature.key) <= 3):
        raise FeatureError(
            f"feature {feature.name!r} aggregates events but has no source or not one to three names in `over`",
            code="feature-006",
            hint="give it source=... and over=..., such as over='item_id'",
        )
    if not aggregated and (feature.source is not None or feature.key):
        raise FeatureError(
            f"feature {feature.name!r} aggregates nothing, yet has a source or a key",
            code="feature-006",
            hint="leave out source and over, or define it by count(...), mean(...), last(...)",
        )
    if not all(part.isidentifier() for part in feature.name.split(".")) or feature.name.count(".") > 1:
        raise FeatureError(
            f"{feature.name!r} is no name for a feature: letters, digits and _, with at most one dot",
            code="feature-006",
            hint="rename it",
        )


def _twice(column: str, first: Feature, second: Feature) -> FeatureError:
    who = (
        "two features are"
        if first.name == second.name
        else f"features {first.name!r} and {second.name!r} both make a column"
    )
    return FeatureError(
        f"{who} called {column!r}",
        code="feature-001",
        hint="rename one of them; a new meaning is a new version, not a twin",
    )


def refuse_silent_change(features: FeatureSet, served: Mapping[str, tuple[int, str]]) -> None:
    """Refuses a definition that changed its meaning but not its version: a served number never silently changes meaning.

    Args:
        features: The definitions of now.
        served: Version and fingerprint by name, as they were when last accepted.

    Raises:
        FeatureError: At least one did (``feature-005``).
    """
    now = features.fingerprints
    changed = [
        feature
        for feature in features
        if feature.name in served
        and served[feature.name][0] == feature.version
        and served[feature.name][1] != now[feature.name]
    ]
    if changed:
        names = ", ".join(feature.name for feature in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise FeatureError(
            f"{names}{more} changed meaning under an old version (for example {changed[0].name!r}, version "
            f"{changed[0].version}: {served[changed[0].name][1]} was served, now it is {now[changed[0].name]})",
            code="feature-005",
            hint=f"set version={changed[0].version + 1} on what changed (or undo it), then `mainstem features --accept`",
        )
