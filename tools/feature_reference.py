"""The reference pages of the feature platform: its language, with examples the machine computed, and every declared feature."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from mainstem.features.content_first import CONTENT_FIRST
from mainstem.features.interest_first import INTEREST_FIRST
from mainstem.features.language import expression
from mainstem.features.language.aggregate import Aggregate, Latest
from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.feature import Attribute, Context, Feature, Listed
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.fold import Fold
from mainstem.features.language.matched import Matched
from mainstem.features.language.plan import kind_of
from mainstem.features.language.program import Program
from mainstem.features.language.source import Source
from mainstem.features.unified import UNIFIED

STACKS: Final = {"unified": UNIFIED, "content-first": CONTENT_FIRST, "interest-first": INTEREST_FIRST}

_NAN = np.nan
_EXAMPLE: Final = {
    "now_s": (Shape.R, np.array([1000.0])),
    "price": (Shape.R, np.array([-2.5])),
    "missing": (Shape.R, np.array([_NAN])),
    "creator_id": (Shape.C, np.array([[7.0, 8.0]])),
    "kept.creator_id": (Shape.L, np.array([[7.0, 8.0, 7.0, _NAN]])),
    "kept.watch_s": (Shape.L, np.array([[30.0, 4.0, _NAN, _NAN]])),
    "kept.gap_s": (Shape.L, np.array([[10.0, 70.0, 2000.0, _NAN]])),
    "taste": (Kind(Shape.R, vector=True), np.array([[1.0, 2.0]])),
    "vector": (Kind(Shape.C, vector=True), np.array([[[3.0, 0.0], [0.5, 0.5]]])),
}

_FUNCTIONS: Final = {
    "abs": ("size without sign", "abs(price)"),
    "all": ("1 when the value is true at every place there is", "all(kept.gap_s > 5)"),
    "any": ("1 when it is true at one at least", "any(kept.watch_s > 20)"),
    "at": ("the value at place `i`, counted from 0, newest first", "at(kept.watch_s, 1)"),
    "clip": ("held between two bounds", "clip(price, 0, 10)"),
    "coalesce": ("the first that is not empty", "coalesce(missing, price, 0)"),
    "cos": ("cosine", "cos(0)"),
    "count": ("at how many places the value is true", "count(kept.creator_id == creator_id)"),
    "dot": ("the dot product of two vectors", "dot(taste, vector)"),
    "exp": ("e to the power of", "exp(0)"),
    "first": ("the newest `k` places; the others are gone", "sum(first(kept.gap_s, 2))"),
    "first_value": ("the newest value that is not empty", "first_value(where(kept.watch_s < 10, kept.watch_s, empty))"),
    "floor": ("the next whole number below", "floor(price)"),
    "gaps": ("how far each place lies from the newer one before it; the first keeps its value", "gaps(kept.gap_s)"),
    "known": ("1 unless empty", "known(kept.watch_s)"),
    "log": ("natural logarithm; of 0 and below: empty", "log(0)"),
    "log1p": ("log(1 + x)", "log1p(0)"),
    "log2": ("logarithm to base 2", "log2(8)"),
    "max": ("the largest of its arguments", "max(price, 0)"),
    "max_of": ("the largest over a list", "max_of(kept.watch_s)"),
    "mean": ("the mean of what is known over a list", "mean(kept.watch_s)"),
    "min": ("the smallest of its arguments", "min(price, 0)"),
    "min_of": ("the smallest over a list", "min_of(kept.watch_s)"),
    "round": ("the nearest whole number, halves to the even one", "round(price)"),
    "run": ("1 from the newest place on for as long as the value is true, then 0", "run(gaps(kept.gap_s) < 100)"),
    "sign": ("-1, 0 or 1", "sign(price)"),
    "sin": ("sine", "sin(0)"),
    "so_far": ("how many places up to this one are true", "so_far(kept.creator_id == 7)"),
    "sqrt": ("square root; of a negative number: empty", "sqrt(price)"),
    "sum": ("the sum over a list", "sum(kept.watch_s)"),
    "where": ("the second where the first is true, else the third", "where(now_s > 500, 1, 0)"),
}
_OPERATORS: Final = {
    "+ - * /": ("arithmetic", "(now_s + 1) / 2"),
    "// %": ("floor division and its remainder", "-7 % 3"),
    "**": ("a power; the exponent is a plain number", "price ** 2"),
    "< <= > >= == !=": ("comparison; several may follow each other", "0 < now_s <= 1000"),
    "in, not in": ("one of some values", "creator_id in (7, 9)"),
    "and or not": ("truth; every number but 0 is true, empty is not", "price and not missing"),
    "x if c else y": ("the same as `where(c, x, y)`", "1 if missing else 2"),
}
_SHAPES: Final = {Shape.R: "request", Shape.L: "list", Shape.C: "candidates", Shape.M: "list × candidates"}


def language_page() -> str:
    """Operators, functions, rules and limits of expressions; each example's value is what the machine gives."""
    unknown = set(_FUNCTIONS) ^ set(expression.FUNCTIONS)
    if unknown:
        raise SystemExit(f"functions without a sentence, or sentences without a function: {sorted(unknown)}")
    inputs = [f"| `{name}` | {_over(name)} | {_shown(values)} |" for name, (_, values) in _EXAMPLE.items()]
    shapes = [f"| {shape.name} | {_SHAPES[shape]} | {about} |" for shape, about in _shape_lines()]
    return "\n".join(
        [
            "# The language of features\n",
            "Python's syntax for arithmetic, read by Python's parser and never evaluated as Python. How features are declared:"
            " [add a feature](../guides/add-a-feature.md); what happens to them: [features](../concepts/features.md).\n",
            "## Shapes\n",
            "| | over | array |",
            "|---|---|---|",
            *shapes,
            "\nMixing broadcasts: a list with candidates is a value for each pair. List functions take the places away again.\n",
            "## Rules\n",
            *_rules(),
            "\n## Operators\n",
            *_table(_OPERATORS),
            "\n## Functions\n",
            "`pi` and `empty` are names that are always there.\n",
            *_table(_FUNCTIONS),
            "\n## Limits\n",
            f"{expression.TEXT_LIMIT} characters, nested {expression.DEPTH_LIMIT} deep: name a part and read the name. Lists of"
            " different names do not mix; reduce one to a number first. A text may be compared with a name that has labels, and"
            " with nothing else.\n",
            "## What the examples read\n",
            "| name | over | value |",
            "|---|---|---|",
            *inputs,
            "",
        ]
    )


def _rules() -> list[str]:
    """The rules as the module's own docstring tells them."""
    text = (expression.__doc__ or "").split("Rules that hold everywhere:")[1]
    rules = re.split(r"\n\* ", "\n" + text.strip())
    return ["* " + " ".join(rule.replace("``", "`").split()) for rule in rules if rule.strip()]


def _shape_lines() -> list[tuple[Shape, str]]:
    told = {Shape.R: "`[B]`", Shape.L: "`[B, K]`, newest first", Shape.C: "`[B, n]`", Shape.M: "`[B, K, n]`"}
    return list(told.items())


def _table(rows: dict[str, tuple[str, str]]) -> list[str]:
    out = ["| | is | for example | gives | over |", "|---|---|---|---|---|"]
    env = {name: kind for name, (kind, _) in _EXAMPLE.items()}
    for name, (about, text) in rows.items():
        program = Program.of({"value": text}, env)
        found = program.run({one: _EXAMPLE[one][1] for one in program.names} or {"now_s": np.array([0.0])})
        kind = _SHAPES[program.shape_of("value")]
        out.append(f"| `{name}` | {about} | `{text}` | {_shown(found['value'])} | {kind} |")
    return out


def _over(name: str) -> str:
    kind = _EXAMPLE[name][0]
    return _SHAPES[kind] if isinstance(kind, Shape) else f"{_SHAPES[kind.shape]}, a vector"


def _shown(values: np.ndarray) -> str:
    def plain(value: object) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(plain(part) for part in value) + "]"
        return "empty" if value != value else f"{value:g}"

    return plain(values[0].tolist())


def features_page() -> str:
    """Every declared feature of the three stacks, its meaning and its conventions."""
    parts = [
        "# Declared features\n",
        "What each stack's ranker reads, then what is kept behind it. A workspace [adds its own](../guides/add-a-feature.md);"
        " `mainstem features --all` lists them with versions and fingerprints. *When empty* is what is read where nothing is"
        " known; `nan` stays empty, and the ranker puts the mean of the viewer's cohort there.\n",
    ]
    for name, features in STACKS.items():
        columns = sum(len(feature.columns) for feature in features if feature.role)
        parts += [f"## {name}\n", f"{len(features)} declared, {columns} columns read by the ranker.\n"]
        parts += ["### Events\n", *(_source(source) for source in features.sources), ""]
        for role, title in (("user", "The viewer"), ("item", "The item"), ("cross", "The two together")):
            parts += _role(features, role, title)
        parts += _inner(features)
    return "\n".join(parts)


def _source(source: Source) -> str:
    late = f"later than {source.drop_after} is dropped" if source.drop_after else "late ones are admitted"
    sees = f" Sees {', '.join(f'`{name}`' for name in source.sees)} as before each event." if source.sees else ""
    where = f" Only where `{source.where}`." if source.where else ""
    about = source.about.rstrip(".")
    return f"* **{source.name}** (stream `{source.of_stream}`; {late}): {about}.{where}{sees}"


def _role(features: FeatureSet, role: str, title: str) -> list[str]:
    chosen = [feature for feature in features if feature.role == role]
    if not chosen:
        return []
    rows = [
        f"| {_name(one)} | {one.about} | {one.unit} | {one.when_empty:g} | {_failed(one)} | {_what(one)} |"
        for one in chosen
    ]
    head = ["| column | | unit | when empty | when failed | is |", "|---|---|---|---|---|---|"]
    return [f"### {title}\n", *head, *rows, ""]


def _inner(features: FeatureSet) -> list[str]:
    chosen = [feature for feature in features if not feature.role]
    rows = [f"| {_name(one)} | {_what(one)} | {_key(one)} | {_windows(one)} | {one.about} |" for one in chosen]
    return ["### Behind them\n", "| name | is | over | windows | |", "|---|---|---|---|---|", *rows, ""]


def _name(feature: Feature) -> str:
    return f"`{feature.name}`" + (f" × {feature.width}" if feature.width > 1 else "")


def _failed(feature: Feature) -> str:
    return f"{feature.default:g}" if feature.failed == "default" else feature.failed.replace("_", " ")


def _key(feature: Feature) -> str:
    return " × ".join(feature.key)


def _windows(feature: Feature) -> str:
    if not isinstance(feature.of, Aggregate):
        return ""
    told = ", ".join(feature.windows)
    if feature.align == "clock":
        told += f", whole {feature.step} steps by {feature.zone} clock"
    return told


def _what(feature: Feature) -> str:
    of = feature.of
    if isinstance(of, str):
        return f"`{' '.join(of.split())}`"
    if isinstance(of, Context):
        return f"told by each {of.per}"
    if isinstance(of, Attribute):
        return f"{of.table}.{of.column} of `{of.key}`"
    if isinstance(of, Latest):
        fields = ", ".join(of.fields)
        return f"last {of.keep}{' by time' if of.by_time else ' by arrival'}: {fields}"
    if isinstance(of, Listed):
        return f"{'most frequent' if of.frequent else 'newest'} {of.most} of `{of.column}`"
    if isinstance(of, Fold):
        return f"fold, version {of.version}: {', '.join(of.state)}"
    if isinstance(of, Matched):
        return f"`{of.key}` joined with `{of.to}`: {', '.join(of.parts)}"
    if isinstance(of, Aggregate):
        return f"{of.kind} of {_listed([part.value for part in of.parts.values()])}"
    return kind_of(feature)


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(f"`{text}`" for text in dict.fromkeys(texts))
