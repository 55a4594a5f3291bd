"""``mainstem surface``: what a surface values and forbids, what a change of it would move, and who changed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal, table

app = typer.Typer(no_args_is_help=True, help="What a surface values and must never do, and what changing that moves.")
Surface = Annotated[str, typer.Argument(help="A surface, such as feed.")]
Side = Annotated[str, typer.Argument(help="now, a TOML file, a git revision, or a change: feed.weights.like=3")]


@app.command()
def diff(
    before: Side,
    after: Side,
    requests: Annotated[int, typer.Option(help="How many logged requests are asked again.", min=1)] = 500,
    by: Annotated[list[str] | None, typer.Option(help="Also slice by this column of the users table.")] = None,
    most: Annotated[
        float | None, typer.Option(help="Exit code 3 when more than this share of the places holds another item.")
    ] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The blast radius of a change before it ships: whose slates move, by how much, and which rules fire otherwise."""
    from mainstem.evaluate.blast_radius import as_tables
    from mainstem.workspace.blast_radius import surface_diff
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("blast radius") as step:
        found = surface_diff(Workspace.open(workspace), before, after, requests, tuple(by or ()), step.progress)
        step.outcome = found.sentence
    tables = (f"{name}\n{table(rows)}" for name, rows in as_tables(found).items() if rows)
    terminal.answer(asdict(found), "\n\n".join([found.sentence, *tables]))
    replaced = found.groups[0].replaced
    if most is not None and replaced is not None and replaced.mid > most:
        raise typer.Exit(NO)


@app.command()
def pull(
    surface: Surface,
    requests: Annotated[int, typer.Option(help="How many logged requests are asked again.", min=1)] = 200,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What each weight does to the order: weight, base rate, spread, share of the value's variance, who leaves the first ten."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.value_pull import pull_of

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("pull") as step:
        found = pull_of(Workspace.open(workspace), surface, requests, step.progress)
        step.outcome = f"{found.requests} requests, {found.candidates:.0f} candidates each"
    rows = [
        {
            "term": one.term, "weight": one.weight, "base rate": one.rate, "adds": one.typical, "spread": one.spread,
            "share": f"{one.share:.1%}", "of first 10 moved": one.moved,
        }
        for one in found.terms
    ]  # fmt: skip
    at = "" if found.at_rates is None else f"\nan item at base rates is worth {found.at_rates:.4f}"
    unused = f"\nweights that are not read: {', '.join(found.unused)}" if found.unused else ""
    terminal.answer(asdict(found), f"{table(rows)}{at}{unused}" + "".join(f"\n{one}" for one in found.warnings))


@app.command()
def translate(
    surface: Surface,
    source: Annotated[str, typer.Option("--from", help="content-first or interest-first.")],
    requests: Annotated[int, typer.Option(help="Viewers that are asked for.", min=20)] = 400,
    slates: Annotated[int, typer.Option(help="Slates the legacy stack serves each viewer first.", min=0)] = 0,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The unified formula that orders as a legacy one did. Exit code 3 when the unified predictions do not reach its order."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.value_translation import translate as fit

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("translate") as step:
        found = fit(Workspace.open(workspace), surface, source, requests, slates, step.progress)
        step.outcome = f"fitted on {found.requests[0]} viewers, judged on {found.requests[2]}"
    rows = [
        {
            "predictions": one.predictions, "formula": one.form, "tau@20": _span(one.tau),
            "top 20 shared": _span(one.overlap), "reproduced": one.enough,
        }
        for one in found.reached
    ]  # fmt: skip
    if found.neutral:
        rows.append({"predictions": "its student", "formula": "neutral", "tau@20": _span(found.neutral)})
    terminal.answer(asdict(found), f"{table(rows)}\n\n{found.sentence}\n\n{found.as_toml()}")
    if not any(one.enough and one.written and one.predictions == "unified" for one in found.reached):
        raise typer.Exit(NO)


def _span(interval: tuple[float, float, float]) -> str:
    return f"{interval[0]:.3f} [{interval[1]:.3f}, {interval[2]:.3f}]"


@app.command()
def tune(
    surface: Surface,
    guardrail: Annotated[
        list[str] | None,
        typer.Option(help='What must hold: "hate <= 0.002", "hate <= start", "watch >= 0.95 * start".'),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(help="What an impression is truly worth, over the heads. Default: the made world's own weights."),
    ] = "",
    evaluations: Annotated[int, typer.Option(help="How many weights are tried.", min=10)] = 100,
    requests: Annotated[int, typer.Option(help="Viewers that choose; as many others judge.", min=10)] = 200,
    perfect: Annotated[bool, typer.Option("--perfect", help="By the world's chances, not the model's.")] = False,
    seed: Seed = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Tunes the named weights in the log's made world, guardrails kept. Exit code 3 when no weights keep them."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.value_tuning import WORLD, tune_surface

    terminal, place = Terminal(as_json=as_json, quiet=quiet), Workspace.open(workspace)
    with terminal.step("tune") as step:
        found = tune_surface(
            place, surface, guardrail or (), evaluations, seed, requests,
            objective=objective or WORLD, perfect=perfect, progress=step.progress,
        )  # fmt: skip
        step.outcome = f"{found.evaluations} weights by search, as many at random"
    drawn = _drawn(found, place)
    rows = [{"value": one.measured.value, **_guarded(one.measured, found), **one.weights} for one in found.front]
    told = [f"mainstem surface set {surface}", *(f"'weights.{name}={one}'" for name, one in found.written.items())]
    text = f"{table(rows)}\n\n{found.sentence}\n{drawn}\n\n{' '.join(told)} --reason … --owner …"
    terminal.answer(asdict(found), text)
    if found.best is None or not found.kept:
        raise typer.Exit(NO)


def _guarded(measured: Any, found: Any) -> dict[str, str]:
    """The guarded metrics of one trial; hate where nothing is guarded."""
    names = [one.split("<")[0].split(">")[0].strip() for one in found.guardrails] or ["hate"]
    return {f"mean {name}": f"{measured.metrics[name]:.6f}" for name in names}


def _drawn(found: Any, place: Any) -> str:
    """The front as a picture beside the evidence."""
    from mainstem.report.figure import Drawn
    from mainstem.report.value_front import Tried, tuning_figure

    name = next(iter(_guarded(found.start, found))).removeprefix("mean ")
    tried = [
        Tried(one.measured.value, one.measured.metrics[name], one.kept, one.front, number == 0)
        for number, one in enumerate(found.trials)
    ]
    figure = tuning_figure(found.surface, name, tried, found.sentence)
    file = place.evidence(f"tuning_{found.surface}").with_suffix(".svg")
    file.write_text(Drawn().svg(figure, figure.wide, "wide"), encoding="utf-8")
    return f"front drawn: {file}"


Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]
Owner = Annotated[str, typer.Option(help="Who answers for it. Default: the surface's owner.")]


@app.command(name="set")
def set_(
    surface: Surface,
    changes: Annotated[list[str], typer.Argument(help="Such as weights.like=3 or rules.creator_cap=1.")],
    reason: Reason = "",
    owner: Owner = "",
    workspace: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Changes settings of a surface in mainstem.toml and enters who, when, what and why in the ledger."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.value_ledger import set_values
    from mainstem.workspace.value_pull import worthless_at_rates

    terminal = Terminal(as_json=as_json)
    told = set_values(Workspace.open(workspace), surface, changes, reason, owner)
    for one in worthless_at_rates(Workspace.open(workspace)):
        terminal.say(f"  {one}")
    terminal.answer([msgspec.to_builtins(one) for one in told], _entries_text(told))


@app.command()
def declare(reason: Reason = "", owner: Owner = "", workspace: Folder = HERE, as_json: AsJson = False) -> None:
    """Enters in the ledger what was changed in mainstem.toml by hand."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.value_ledger import declare as enter

    told = enter(Workspace.open(workspace), reason, owner)
    Terminal(as_json=as_json).answer([msgspec.to_builtins(one) for one in told], _entries_text(told))


@app.command()
def log(workspace: Folder = HERE, as_json: AsJson = False) -> None:
    """Every declared change, oldest first. Exit code 3 when the ledger was tampered with or a change is undeclared."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.value_ledger import read_ledger

    found = read_ledger(Workspace.open(workspace))
    told = {
        "entries": [msgspec.to_builtins(one) for one in found.entries],
        "broken": found.broken,
        "undeclared": [msgspec.to_builtins(one) for one in found.undeclared],
    }
    lines = [_entries_text(found.entries) if found.entries else "nothing was declared yet: mainstem surface set"]
    if found.broken:
        lines.append(f"entry {found.broken} does not follow from the one before: the ledger was changed")
    if found.undeclared:
        lines += ["", "in mainstem.toml, declared by nobody:", *(_change_text(one) for one in found.undeclared)]
        lines.append("mainstem surface declare --reason … --owner … enters them")
    Terminal(as_json=as_json).answer(told, "\n".join(lines))
    if found.broken or found.undeclared:
        raise typer.Exit(NO)


def _entries_text(entries: Sequence[Any]) -> str:
    lines = []
    for one in entries:
        by = f"{one.who}, for {one.owner}" if one.owner else one.who
        lines.append(f"{one.when}  {one.kind:8}  {by}: {one.reason}")
        lines += [_change_text(change) for change in one.changes]
    return "\n".join(lines)


def _change_text(change: Any) -> str:
    before, after = ("–" if one is None else repr(one) for one in (change.before, change.after))
    return f"    {change.key}: {before} → {after}"
