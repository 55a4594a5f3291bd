"""A verification as plain lines for a terminal: the verdict first, what fails next, then one line a configuration."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mainstem.parity.features.drill import Found
from mainstem.workspace.feature_parity_results import FeatureRow, StackVerdict, Verified

WIDTH = 100


def verified_text(verdict: Verified) -> str:
    """The whole answer."""
    lines = [*textwrap.wrap(verdict.sentence, WIDTH), ""]
    for stack in verdict.stacks:
        lines += [*_stack_lines(stack), ""]
    for section in verdict.sections:
        word = {True: "ok", False: "REFUSED", None: "not made"}[section.ok]
        lines += textwrap.wrap(f"{section.name}: {word}. {section.sentence}", WIDTH, subsequent_indent="  ")
    lines.append(f"{verdict.seconds:.0f} s on {verdict.log}, commit {verdict.commit}")
    return "\n".join(lines)


def _stack_lines(stack: StackVerdict) -> list[str]:
    shown = (
        f"{stack.stack}: {stack.matched:,} of {stack.cells:,} cells of {len(stack.features)} features equal in every bit, "
        f"{stack.requests:,} requests after up to {stack.events:,} events, {stack.seconds:.0f} s"
    )
    lines = textwrap.wrap(shown, WIDTH, subsequent_indent="  ")
    for row in sorted((one for one in stack.features if not one.agrees), key=lambda one: one.match_rate):
        lines += _failing(row)
    lines += [f"  cause: {cause.sentence}" for cause in stack.causes]
    lag = [(one.from_events, one.requests) for one in stack.lag if one.requests]
    lines += textwrap.wrap(
        "behind the log's head, in events from: " + ", ".join(f"{start} ({count:,})" for start, count in lag),
        WIDTH, initial_indent="  ", subsequent_indent="    ",
    )  # fmt: skip
    wrong = stack.counterfactual
    lines += textwrap.wrap(
        f"joined by event time instead, {wrong.share:.2%} of {wrong.cells:,} cells would be wrong"
        + (f", most of {wrong.worst[0][0]} ({wrong.worst[0][1]:.0%})" if wrong.worst else ""),
        WIDTH, initial_indent="  ", subsequent_indent="    ",
    )  # fmt: skip
    return lines


def _failing(row: FeatureRow) -> list[str]:
    where = (
        ""
        if row.first is None
        else (f"; first at offset {row.first.offset}: served {row.first.served}, recomputed {row.first.recomputed}")
    )
    text = f"{row.name} {row.window} ({row.stage}): {row.match_rate:.4%} equal{where}"
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def drill_text(found: Sequence[Found]) -> str:
    """Each planted fault, and what it was called."""
    lines = []
    for one in found:
        word = "found" if one.right else "MISNAMED" if one.caught else "MISSED"
        lines += [
            f"{one.fault}: {word}",
            *textwrap.wrap(f"planted: {one.story}", WIDTH, initial_indent="  ", subsequent_indent="    "),
        ]
        lines += textwrap.wrap(f"said: {one.sentence}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    right = sum(one.right for one in found)
    return "\n".join(
        [*lines, "", f"{right} of {len(found)} faults found and named at the right feature, stage and cause"]
    )
