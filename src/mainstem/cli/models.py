"""``mainstem models``: every version that was trained, which one serves, where it comes from, and whether a new one is stable."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal, table

app = typer.Typer(
    no_args_is_help=True,
    help="Versions of trained models: list, show, promote, lineage of a slate, daily training, stability.",
)
Id = Annotated[str, typer.Argument(help="A version's id or its beginning, its number, or current.")]
Name = Annotated[str, typer.Option("--name", help="Which kind of model: a folder under models/.")]
_KEYS = ("data", "split", "rows", "positives", "parameters", "epochs", "validation_loss", "settings", "limits", "warm")


@app.command(name="list")
def list_versions(name: Name = "unified", workspace: Folder = HERE, as_json: AsJson = False) -> None:
    """Every version, oldest first: when it was made, from what, and which one serves."""
    from mainstem.workspace.layout import Workspace

    registry = Workspace.open(workspace).models(name)
    current = registry.current
    rows = [
        {
            "version": one.id,
            "made": _utc(one.made_ms),
            "from": ", ".join(one.parents),
            "rows": (one.about.get("learned_from") or one.about).get("rows", {}).get("train"),
            "serves": one.id == current,
            "whole": registry.is_whole(one),
        }
        for one in registry.versions()
    ]
    history = [msgspec.to_builtins(one) for one in registry.history()]
    Terminal(as_json=as_json).answer({"versions": rows, "history": history}, table(rows))


@app.command()
def show(version: Id = "current", name: Name = "unified", workspace: Folder = HERE, as_json: AsJson = False) -> None:
    """A version's card: data, split, metrics, slices, limits, settings. Exit code 3 when its files are damaged."""
    from mainstem.workspace.layout import Workspace

    registry = Workspace.open(workspace).models(name)
    one = registry.get(version)
    whole = registry.is_whole(one)
    told: dict[str, Any] = {
        "version": one.id, "made": _utc(one.made_ms), "serves": one.id == registry.current, "whole": whole,
        "from": list(one.parents), "path": str(registry.path(one)), "about": one.about,
    }  # fmt: skip
    lines = [f"{key:16} {told[key]}" for key in ("version", "made", "serves", "whole", "from", "path")]
    lines += [f"{key:16} {one.about[key]}" for key in _KEYS if key in one.about]
    taught = one.about.get("learned_from") or {}
    lines += [f"learned {key:8} {taught[key]}" for key in ("log", "offsets", "rows", "days", "sha256") if key in taught]
    Terminal(as_json=as_json).answer(told, "\n".join(lines))
    if not whole:
        raise typer.Exit(NO)


@app.command()
def promote(
    version: Id,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    name: Name = "unified",
    workspace: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Lets a version serve: forward to a candidate, or back. A server reads it when it is started the next time."""
    from mainstem.workspace.layout import Workspace

    registry = Workspace.open(workspace).models(name)
    before = registry.current
    now = registry.promote(version, reason)
    text = f"{now.id} serves" + ("" if before in ("", now.id) else f", {before} did before; start the server again")
    Terminal(as_json=as_json).answer({"version": now.id, "before": before}, text)


@app.command()
def lineage(
    request: Annotated[int, typer.Option(help="The id of a request that was served.")] = -1,
    version: Annotated[str, typer.Option(help="A version instead of a request.")] = "",
    workspace: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """From a served slate to the model that ranked it, what that began from, and the rows of the log each learned."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.model_lineage import ModelLineage, chain_of, model_lineage, model_lineage_text

    place = Workspace.open(workspace)
    if request < 0:
        found = ModelLineage(None, chain_of(place, place.models(), version or "current"), ())
    else:
        found = model_lineage(place, request)
    Terminal(as_json=as_json).answer(asdict(found), model_lineage_text(found))


@app.command()
def stability(
    before: Annotated[str, typer.Option(help="The version before. Default: the parent of the other.")] = "",
    after: Annotated[str, typer.Option(help="The version in question.")] = "current",
    day: Annotated[
        list[int] | None, typer.Option(help="Days to judge on, as yyyymmdd. Default: those neither learned.")
    ] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Whether a version predicts as the one before did: calibration, entropy, order. Exit code 3 when it is unstable."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.stability import judge_versions

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("stability") as step:
        judged = judge_versions(Workspace.open(workspace), before, after, day or ())
        step.outcome = f"{judged.before} against {judged.after} on {len(judged.days)} day(s): {judged.found.answer}"
    terminal.answer(asdict(judged), _stability_text(judged))
    if judged.found.answer == "unstable":
        raise typer.Exit(NO)


@app.command()
def daily(
    until: Annotated[int, typer.Option(help="The last day to learn, as yyyymmdd. Default: the log's last.")] = 0,
    judge: Annotated[bool, typer.Option("--judge", help="Only measure what refreshing every night is worth.")] = False,
    day: Annotated[
        list[int] | None, typer.Option(help="Days to judge. Default: every one after the first new one.")
    ] = None,
    scratch: Annotated[Path | None, typer.Option(help="A folder for rows that do not fit into memory.")] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Goes on from the version that serves over the days that came since, and lets the new version serve."""
    from mainstem.workspace.daily import refresh, rolling
    from mainstem.workspace.layout import Workspace

    terminal, place = Terminal(as_json=as_json, quiet=quiet), Workspace.open(workspace)
    if judge:
        with terminal.step("daily, judged") as step:
            gains = rolling(place, days=day, progress=step.progress)
            step.outcome = f"{len({one.day for one in gains}) - 1} days"
        place.write_evidence("daily", {"gains": [asdict(one) for one in gains]})
        terminal.answer([asdict(one) for one in gains], table([_gain_row(one) for one in gains]))
        return
    with terminal.step("daily") as step:
        done = refresh(place, until or None, progress=step.progress, folder=scratch)
        step.outcome = f"{done.version} learned {len(done.days)} day(s) beyond {done.parent or 'the model before'}"
    if done.judged_days:
        terminal.say(
            f"  it has learned test days {list(done.judged_days)}: `mainstem compare` judges it on rows it knows"
        )
    terminal.answer(asdict(done), f"{done.version} serves, learned up to {done.days[-1]}")


@app.command()
def distil(
    requests: Annotated[int, typer.Option(min=20, help="Viewers each legacy ranker is asked for, a surface.")] = 4_000,
    workspace: Folder = HERE,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Teaches students both legacy orders, for `value = "neutral"`. Exit code 3 when one is not close enough to move."""
    from mainstem.workspace.distil import DistilPlan, distil_teachers
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.log import open_log, split

    terminal, place = Terminal(as_json=as_json, quiet=quiet), Workspace.open(workspace)
    log = open_log(place)
    plan = DistilPlan(requests=requests, seed=place.settings.seed if seed is None else seed)
    with terminal.step("distil") as step:
        found = distil_teachers(place, log, split(place, log), plan, step.progress)
        step.outcome = f"{sum(one.neutral for one in found)} of {len(found)} surfaces neutral"
    told = [one.as_dict() for one in found]
    rows = [{**one, "tau20": _mean(one["tau20"]), "overlap20": _mean(one["overlap20"])} for one in told]
    terminal.answer(told, table(rows))
    if not all(one.neutral for one in found):
        raise typer.Exit(NO)


def _mean(span: tuple[float, float, float]) -> str:
    return f"{span[0]:.3f} [{span[1]:.3f}, {span[2]:.3f}]"


def _stability_text(judged: Any) -> str:
    found = judged.found
    rows = [
        {
            "head": cell.head, "surface": cell.surface, "rows": cell.rows, "positives": cell.positives,
            "p/o before": _span(cell.before), "p/o after": _span(cell.after), "entropy": f"{cell.entropy.mid:.4f}",
            "rise %": _span(cell.rise, 100), "agree": f"{cell.correlation:.4f}", "answer": cell.answer,
        }
        for cell in found.cells
    ]  # fmt: skip
    lines = [table(rows), f"\nbest of a user's day that agree: {_span(found.overlap)} over {found.groups:,} groups"]
    if judged.learned:
        lines.append(f"one version has learned {list(judged.learned)}: there it looks better than it is")
    lines += [*found.why, f"{judged.after} against {judged.before} on days {list(judged.days)}: {found.answer}"]
    return "\n".join(lines)


def _gain_row(one: Any) -> dict[str, Any]:
    gain = one.gain
    return {
        "day": one.day or "all", "head": one.head, "rows": one.rows, "positives": one.positives,
        "AUC frozen": one.auc_frozen, "AUC daily": one.auc_refreshed,
        "gain": "–" if gain is None else f"{gain.mid:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]",
        "entropy %": _span(one.entropy, 100), "p/o frozen": _span(one.frozen), "p/o daily": _span(one.refreshed),
    }  # fmt: skip


def _span(span: Any, times: float = 1.0) -> str:
    if span.low != span.low:
        return f"{times * span.mid:.3f}"
    return f"{times * span.mid:.3f} [{times * span.low:.3f}, {times * span.high:.3f}]"


def _utc(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
