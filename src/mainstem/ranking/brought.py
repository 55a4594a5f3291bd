"""A model another team brings, as a ranker: declared, checked against the features, tried before it is let in, calibrated."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError, did_you_mean
from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.base.request import Floats, Request, Rows
from mainstem.features.language.feature import Role
from mainstem.features.language.feature_set import FeatureSet
from mainstem.ranking.brought_kinds import Array, Scorer, read_scorer
from mainstem.ranking.calibrate import Calibrators

ROLES: Final[tuple[Role, ...]] = ("user", "item", "cross")
PROBE: Final = 64
"""Rows a model is tried on before it is let in."""


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a team says of its model, as ``[ranker]`` of a TOML file or as JSON."""

    file: str
    """The model, beside the declaration."""
    inputs: list[str]
    """Features (or single columns of them) in the order the model wants them."""
    outputs: dict[str, int]
    """Head = the model's output column."""
    kind: Literal["probability", "score"] = "probability"
    """What the outputs are; a score is any number that is higher where the outcome is likelier."""
    name: str = ""
    """How it is called; the file's name without its ending when empty."""
    format: str = ""
    """onnx, skops, lightgbm or xgboost; by the file's ending when empty."""
    about: str = ""
    """One line for the card."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was learned when the model was brought.

    Attributes:
        fill: What stands for each prediction the model does not make.
        scales: Centre and width by which scores become log odds.
        calibrators: The maps that follow; None leaves what the model says.

    Shapes: ``fill[8]``, ``scales[7, 2]``.
    """

    fill: NDArray[np.float32]
    scales: NDArray[np.float32]
    calibrators: Calibrators | None = None


def nothing_fitted() -> Fitted:
    """No outcomes yet: half for a missing probability, no seconds, scores taken as log odds."""
    fill = np.array([0.5] * len(HEADS) + [0.0], np.float32)
    return Fitted(fill, np.tile(np.array([0.0, 1.0], np.float32), (len(HEADS), 1)))


def read_declaration(path: Path) -> Declaration:
    """The declaration in a file.

    Raises:
        ModelError: It cannot be read, or is no declaration (``model-069``).
    """
    try:
        text = path.read_text(encoding="utf-8")
        given = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        made = msgspec.convert(given.get("ranker", given), Declaration)
    except (OSError, ValueError, AttributeError, msgspec.ValidationError) as error:
        raise ModelError(
            f"{path.name!r} is no declaration of a ranker: {error}",
            code="model-069",
            hint='[ranker] with file = "model.txt", inputs = ["..."], outputs = {long_view = 0}',
        ) from None
    unknown = sorted(set(made.outputs) - set(PREDICTIONS))
    if unknown or not made.outputs or not made.inputs or min(made.outputs.values()) < 0:
        raise ModelError(
            f"outputs names {unknown[0]!r}, which is no head"
            if unknown
            else "a ranker needs at least one input and one output, columns counted from 0",
            code="model-070",
            hint=did_you_mean(unknown[0], PREDICTIONS) if unknown else f"heads: {', '.join(PREDICTIONS)}",
        )
    return made


def input_columns(declaration: Declaration, features: FeatureSet) -> tuple[str, ...]:
    """The columns behind a declaration's inputs: a feature of several columns stands for all of them.

    Raises:
        ModelError: One is no feature a ranker can read (``model-071``).
    """
    known = {column for role in ROLES for column in features.columns_of(role)}
    several = {feature.name: feature.columns for feature in features if feature.role in ROLES}
    out: list[str] = []
    for name in declaration.inputs:
        if name not in known and name not in several:
            raise ModelError(
                f"input {name!r} is no feature that a ranker reads",
                code="model-071",
                hint=did_you_mean(name, known | set(several)),
            )
        out.extend([name] if name in known else several[name])
    return tuple(out)


class BroughtRanker:
    """A brought model as the ranker of a stack. Heads it does not predict are the same for every candidate.

    Args:
        declaration: What its team says.
        scorer: The model itself.
        features: The features of the stack it ranks in.
        fitted: What was learned from outcomes; nothing yet when left out.

    Raises:
        ModelError: An input is no feature (``model-071``), their number or order is not the model's (``model-072``), or a trial on
            made rows fails (``model-073``).
    """

    heads = PREDICTIONS

    def __init__(
        self, declaration: Declaration, scorer: Scorer, features: FeatureSet, fitted: Fitted | None = None
    ) -> None:
        self.declaration = declaration
        self.columns = input_columns(declaration, features)
        self.missing = tuple(head for head in PREDICTIONS if head not in declaration.outputs)
        self.item_columns = len(features.columns_of("item"))
        self._scorer = scorer
        self._fitted = fitted or nothing_fitted()
        order = [column for role in ROLES for column in features.columns_of(role)]
        self._at = np.array([order.index(column) for column in self.columns], np.int64)
        self._users = len(features.columns_of("user"))
        defaults = [value for role in ROLES for value in features.defaults_of(role)]
        self._defaults = np.array(defaults, np.float32)[self._at]
        self._predicted = [(PREDICTIONS.index(head), column) for head, column in declaration.outputs.items()]
        _check_inputs(self.columns, scorer, declaration.file)
        self._try()

    def raw(self, user: Array, item: Array, cross: Array) -> Array:
        """What the model says, before any calibration. Shapes: ``user[u]`` or ``[n, u]`` to ``[n, 8]``."""
        n = len(item)
        out = np.tile(self._fitted.fill, (n, 1))
        if n:
            self._into(out, self._outputs(self._inputs(user, item, cross)))
        return out

    def scores(
        self,
        user: Array,
        item_rows: NDArray[np.integer[Any]],
        item: Array,
        cross: Array,
        surface: int | NDArray[np.integer[Any]] = -1,
        cell: int | NDArray[np.integer[Any]] = -1,
    ) -> Array:
        """Calibrated predictions; which item it is does not matter, only its features. Shapes: [n, 8]."""
        out, n = self.raw(user, item, cross), len(item_rows)
        if self._fitted.calibrators is None:
            return out
        place, at = np.broadcast_to(np.asarray(surface), n), np.broadcast_to(np.asarray(cell), n)
        mapped = self._fitted.calibrators.apply_many(out, place, at)
        absent = [PREDICTIONS.index(head) for head in self.missing]
        mapped[:, absent] = out[:, absent]
        return mapped

    def predict(self, request: Request, user: Any, rows: Rows, features: Floats) -> Floats:
        """One row of predictions a candidate. Shapes: [n, 8]."""
        item, cross = features[:, : self.item_columns], features[:, self.item_columns :]
        return self.scores(user.side, rows, item, cross, user.surface, request.scenario)

    @property
    def format(self) -> str:
        """Which library's file it is."""
        return self._scorer.format

    def spread(self, user: Array, item: Array, cross: Array, width: float) -> NDArray[np.float32]:
        """Centre and scale of each score on some rows: one standard deviation becomes ``width`` log odds. Shapes: [7, 2]."""
        out = nothing_fitted().scales
        answer = self._outputs(self._inputs(user, item, cross)).astype(np.float64)
        for head, column in self._predicted:
            if head < len(HEADS):
                values = answer[:, column]
                out[head] = values.mean(), max(float(values.std()), 1e-6) / width
        return out

    def with_fitted(self, fitted: Fitted, features: FeatureSet) -> BroughtRanker:
        """The same model with what was learned from outcomes."""
        return BroughtRanker(self.declaration, self._scorer, features, fitted)

    def _inputs(self, user: Array, item: Array, cross: Array) -> Array:
        """The model's own table; what is not finite takes its feature's default. Shapes: [n, k]."""
        of_user = self._at < self._users
        out = np.empty((len(item), len(self._at)), np.float32)
        out[:, of_user] = np.atleast_2d(user)[:, self._at[of_user]]
        out[:, ~of_user] = np.concatenate([item, cross], axis=1)[:, self._at[~of_user] - self._users]
        return np.where(np.isfinite(out), out, self._defaults)

    def _outputs(self, inputs: Array) -> NDArray[Any]:
        answer = np.asarray(self._scorer.score(inputs))
        widest = max(column for _, column in self._predicted)
        if answer.ndim != 2 or len(answer) != len(inputs) or answer.shape[1] <= widest:
            raise _unfit(
                f"it answers {list(answer.shape)} for {len(inputs)} rows, expected [{len(inputs)}, {widest + 1} or more]"
            )
        return answer

    def _into(self, out: Array, answer: NDArray[Any]) -> None:
        """Puts the model's outputs into the columns of their heads."""
        for head, column in self._predicted:
            value = answer[:, column].astype(np.float64)
            if head < len(HEADS) and self.declaration.kind == "score":
                centre, width = self._fitted.scales[head]
                value = 1.0 / (1.0 + np.exp(-np.clip((value - centre) / width, -30.0, 30.0)))
            out[:, head] = value

    def _try(self) -> None:
        """Scores made rows: finite, in bounds, the same again, and the same alone as among others."""
        draw = np.random.default_rng(0)
        inputs = (self._defaults + draw.normal(0.0, 1.0, (PROBE, len(self._defaults)))).astype(np.float32)
        try:
            answer, again, alone = self._outputs(inputs), self._outputs(inputs), self._outputs(inputs[:1])
        except ModelError:
            raise
        except Exception as error:  # whatever the library raises, the model cannot rank
            raise _unfit(f"it fails on made rows: {str(error).splitlines()[0][:200]}") from None
        for head, column in self._predicted:
            values = answer[:, column]
            if not np.isfinite(values).all():
                raise _unfit(f"its output {column} ({PREDICTIONS[head]}) is not finite on made rows")
            bounded = head < len(HEADS) and self.declaration.kind == "probability"
            if bounded and not ((values >= 0) & (values <= 1)).all():
                raise _unfit(
                    f"its output {column} ({PREDICTIONS[head]}) is {values.min():.3g} to {values.max():.3g}, "
                    'expected 0 to 1; declare kind = "score" if it is no probability'
                )
            if not np.array_equal(values, again[:, column]):
                raise _unfit(f"its output {column} ({PREDICTIONS[head]}) differs from call to call")
            if abs(values[0] - alone[0, column]) > 1e-5 * max(1.0, abs(float(values[0]))):
                raise _unfit(f"its output {column} ({PREDICTIONS[head]}) depends on the other candidates")


def read_brought(path: Path, features: FeatureSet, fitted: Fitted | None = None) -> BroughtRanker:
    """The ranker a declaration file and the model beside it make.

    Raises:
        ModelError: Anything does not fit (``model-060`` to ``model-073``).
    """
    declaration = read_declaration(path)
    if Path(declaration.file).name != declaration.file:
        raise ModelError(
            f"file is {declaration.file!r}, expected the name of a file beside the declaration",
            code="model-069",
            hint="put the model into the declaration's folder",
        )
    return BroughtRanker(declaration, read_scorer(path.parent / declaration.file, declaration.format), features, fitted)


def _check_inputs(columns: tuple[str, ...], scorer: Scorer, file: str) -> None:
    if scorer.width is not None and scorer.width != len(columns):
        raise ModelError(
            f"{file!r} takes {scorer.width} inputs, the declaration names {len(columns)} columns",
            code="model-072",
            hint="a feature of several columns counts as all of them; single columns can be named too",
        )
    if scorer.names and scorer.names != columns and set(scorer.names) <= {*columns}:
        at = next(i for i, (a, b) in enumerate(zip(scorer.names, columns, strict=True)) if a != b)
        raise ModelError(
            f"{file!r} was trained with {scorer.names[at]!r} as input {at}, the declaration has {columns[at]!r} there",
            code="model-072",
            hint="list the inputs in the model's own order",
        )


def _unfit(what: str) -> ModelError:
    return ModelError(
        f"the brought model does not fit: {what}", code="model-073", hint="see docs/guides/models-in-and-out.md"
    )
