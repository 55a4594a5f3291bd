"""Shadow diffs over replayed requests: unified against each legacy stack, and a healthy stack against a broken one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from mainstem.base.request import Request
from mainstem.base.seeds import uniforms
from mainstem.data.log import Log
from mainstem.parity.results import ShadowDiff
from mainstem.parity.shadow import diff_traces
from mainstem.parity.trace import from_slate
from mainstem.stacks.faults import KINDS, Fault, plant
from mainstem.stacks.remote import RemoteStack
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import open_log
from mainstem.workspace.platform import open_stack
from mainstem.workspace.programs import serving

Progress = Callable[[float], None]


def silent(share: float) -> None:
    """Progress for nobody."""


def shadow_legacy(workspace: Workspace, requests: int = 300, progress: Progress = silent) -> dict[str, ShadowDiff]:
    """Where the unified stack parts from each legacy program, on requests as of the end of the log; evidence ``shadow``."""
    log = open_log(workspace)
    models = {name: workspace.legacy_model(name) for name in LEGACY}
    with serving(LEGACY, workspace.log, models, until=99_999_999) as running:
        urls = {name: one.url for name, one in running.items()}
        return shadow_remotes(workspace, log, open_stack(workspace, log), urls, requests, progress)


def shadow_remotes(
    workspace: Workspace,
    log: Log,
    stack: Stack,
    urls: Mapping[str, str],
    requests: int,
    progress: Progress = silent,
) -> dict[str, ShadowDiff]:
    """The same with programs that already run and a stack that is already there."""
    asked = sample_requests(log, requests, workspace.settings.seed)
    dry = replace(stack, memories=())
    own = [from_slate(run(dry, request)) for request in asked]
    diffs = {}
    for at, (name, url) in enumerate(urls.items()):
        with RemoteStack(name, url, budget_s=10.0) as remote:
            told = []
            for number, request in enumerate(asked):
                told.append(from_slate(remote.rank(request)))
                progress((at + number / len(asked)) / len(urls))
        diffs[name] = diff_traces(list(zip(told, own, strict=True)), left=name, right=stack.name)
    workspace.write_evidence("shadow", diffs)
    return diffs


def sample_requests(log: Log, requests: int, seed: int, count: int = 10) -> list[Request]:
    """Logged requests, drawn evenly over the log's rows and asked again as of the end of the log.

    Every surface gets its share of the log's traffic, and at least a tenth of the requests where it has that many.
    """
    frame = log.impressions.select("request_id", "user_id", "surface", "scenario").unique(
        "request_id", maintain_order=True
    )
    draw = uniforms(seed, frame["request_id"].to_numpy())
    frame = frame.with_columns(draw=pl.Series(draw)).sort("draw")
    least = max(1, requests // 10)
    chosen = pl.concat(
        [frame.head(requests), *(part.head(least) for part in frame.partition_by("surface", maintain_order=True))]
    )
    now_ms = int(np.max(log.impressions["time_ms"].to_numpy())) + 1_000
    return [
        Request(row["request_id"], row["user_id"], row["surface"], now_ms, count, row["scenario"])
        for row in chosen.unique("request_id", maintain_order=True).sort("draw").to_dicts()
    ]


@dataclass(frozen=True, slots=True)
class Found:
    """Whether a shadow diff found a planted fault.

    ``named`` is the stage and culprit the diff names, ``planted`` the ones that were broken.
    """

    kind: str
    story: str
    planted: tuple[str, str]
    named: tuple[str, str]
    right: bool
    sentence: str


def find_planted(stack: Stack, log: Log, kind: str, seed: int, requests: int = 60) -> tuple[Found, ShadowDiff]:
    """Breaks one part of the stack, mirrors the same requests to both, and asks the shadow diff where they part."""
    if kind not in KINDS:
        plant(stack, kind, seed)  # refuses the name before anything is run
    asked = sample_requests(log, requests, seed, count=20)
    healthy = [run(_dry(stack), one) for one in asked]
    fired = {rule for slate in healthy for rule, _, _ in (slate.trace.fired if slate.trace else ())}
    fault = plant(stack, kind, seed, sorted(fired))
    broken = [run(_dry(fault.stack), one) for one in asked]
    pairs = [(from_slate(one), from_slate(other)) for one, other in zip(healthy, broken, strict=True)]
    diff = diff_traces(pairs, left="healthy", right="broken")
    return _verdict(fault, kind, diff), diff


def _dry(stack: Stack) -> Stack:
    return replace(stack, memories=())


def _verdict(fault: Fault, kind: str, diff: ShadowDiff) -> Found:
    named = (diff.first.stage, diff.first.culprit) if diff.first else ("none", "")
    suspects = {named[1], *(diff.first.as_likely if diff.first else ())}
    right = named[0] == fault.stage and (not fault.culprit or fault.culprit in suspects)
    return Found(kind, fault.story, (fault.stage, fault.culprit), named, right, diff.sentence)
