"""``mainstem launch``: may a surface move to the new stack, and what did an experiment show?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from mainstem.cli import launch_plan, launch_report, launch_run
from mainstem.cli.options import AsJson, Quiet
from mainstem.cli.terminal import NO, Terminal, table

if TYPE_CHECKING:
    from mainstem.launch.analyse import Analysis, Reading

app = typer.Typer(no_args_is_help=True, help="Plans, evidence and verdicts of a launch.")
app.command()(launch_plan.plan)
app.command()(launch_plan.simulate)
for _verb in launch_run.VERBS:
    app.command()(_verb)
app.command()(launch_report.report)


@app.callback()
def launch() -> None:
    """Plans, evidence and verdicts of a launch."""


@app.command()
def analyse(
    units: Annotated[Path, typer.Argument(help="A table of units, .csv or .parquet: one row a user.")],
    plan: Annotated[Path, typer.Option("--plan", help="What was promised.")] = Path("launch.toml"),
    arm: Annotated[str, typer.Option(help="The column that holds the arm.")] = "arm",
    control: Annotated[str, typer.Option(help="The old stack's name in that column.")] = "control",
    treatment: Annotated[str, typer.Option(help="The new stack's name in that column.")] = "treatment",
    share: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="The new stack's promised share of the units of both arms.")
    ] = 0.5,
    by: Annotated[list[str] | None, typer.Option(help="A column to show effects by; repeatable.")] = None,
    measurements: Annotated[
        Path | None, typer.Option(help="Another table for quantiles: one row a measurement, with its arm and unit.")
    ] = None,
    unit: Annotated[str, typer.Option(help="With --measurements: the column that says whose it is.")] = "unit",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What a finished experiment shows by its plan, read once at its end. Exit code 3 when it may not ship."""
    from mainstem.launch.analyse import Arms
    from mainstem.launch.analyse import analyse as judge
    from mainstem.launch.plan_file import read_plan

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = judge(
        units,
        read_plan(plan),
        Arms(arm, control, treatment, (1 - share, share), unit),
        by or [],
        measurements=measurements,
    )
    told = _finite(msgspec.to_builtins(found, enc_hook=_plain, str_keys=True)) | {"ships": found.verdict.ships}
    terminal.answer(told, analysis_text(found))
    if not found.verdict.ships:
        raise typer.Exit(NO)


def analysis_text(found: Analysis) -> str:
    """An analysis as a person reads it: the word, why, the sample ratio, and every metric with its interval."""
    ratio = found.sample_ratio
    split = " to ".join(f"{one:.2%}" for one in ratio.observed)
    lines = [
        f"{found.verdict.verdict}: " + "; ".join(found.verdict.reasons),
        f"split {split}, p {ratio.p:.3g}" + (" (broken)" if ratio.alarm else ""),
        "",
        table([_row(name, one) for name, one in found.readings.items()]),
    ]
    for dimension, parts in found.parts.items():
        rows = [{dimension: value} | _row(name, one) for value, some in parts.items() for name, one in some.items()]
        lines += ["", table(rows)]
    if found.left_out:
        lines += ["", "not shown:", *(f"  {one}" for one in found.left_out)]
    return "\n".join([*lines, "", f"plan {found.plan[:12]}, one look, intervals at 95 %"])


def _row(name: str, one: Reading) -> dict[str, Any]:
    claims = one.verdict
    shown = (
        "–"
        if claims is None
        else ", ".join(
            word
            for word, look in (
                ("not worse", claims.passed),
                ("not better", claims.equal),
                ("better", claims.won),
                ("worse", claims.harmed),
            )
            if look is not None
        )
        or "nothing"
    )
    return {
        "metric": name,
        "role": one.metric.role,
        "old": one.effect.control.mean,
        "new": one.effect.treatment.mean,
        "change": f"{one.relative.mid:+.2%}",
        "from": _percent(one.relative.low),
        "to": _percent(one.relative.high),
        "margin": f"{one.metric.margin:.2%}" if one.metric.margin else "–",
        "CUPED took": f"{one.effect.explained:.0%}" if one.effect.theta else "–",
        "shown": shown,
    }


def _percent(value: float) -> str:
    """A share with its sign; a dash where the data set no end."""
    return f"{value:+.2%}" if math.isfinite(value) else "–"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _finite(value: Any) -> Any:
    """JSON has no infinity: an end that the data do not reach is null."""
    match value:
        case dict():
            return {name: _finite(one) for name, one in value.items()}
        case list():
            return [_finite(one) for one in value]
        case float():
            return value if math.isfinite(value) else None
    return value
