"""The demo's steps in order, each answering one line, and the one sentence they add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from mainstem.data.manifest import Manifest
from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.results import Comparison, SideBySide
from mainstem.parity.results import ShadowDiff
from mainstem.ranking.model import Model
from mainstem.workspace.compare import SCORE, Regime, compare_running
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.migrate import Migrated, migrate_made_world
from mainstem.workspace.platform import open_stack
from mainstem.workspace.programs import serving
from mainstem.workspace.retrieval import train_retrieval
from mainstem.workspace.shadow import shadow_remotes
from mainstem.workspace.train import legacy_in_training, model_line, train_unified

Work = Callable[[Callable[..., None]], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the demo found: one sentence, and a viewer and an item to look at next."""

    headline: str
    sentence: str
    made: bool
    user: int
    item: int
    steps: tuple[dict[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """As the last line of the demo."""
        return f"  Answer: {self.sentence}"


class Story:
    """The river from a log that is there to an answer.

    Args:
        workspace: Where everything is read and written.
        seed: Of training, replay and resampling.
    """

    def __init__(self, workspace: Workspace, seed: int) -> None:
        self._workspace = workspace
        self._seed = seed
        self._log = open_log(workspace)
        self._split = split(workspace, self._log)
        self._background = ExitStack()
        self._told: list[dict[str, str]] = []
        self._results: dict[Regime, SideBySide] = {}
        self._diffs: dict[str, ShadowDiff] = {}
        self._migrated: Migrated | None = None
        self._model: Model | None = None

    def steps(self) -> Iterator[tuple[str, Work]]:
        """Title and work of each step. Both legacy programs train in the background while the first steps run."""
        with self._background:
            training = self._background.enter_context(
                legacy_in_training(self._workspace, self._split.validation_day, self._seed)
            )
            for title, work in (
                ("unified", self._train),
                ("retrieval", self._retrieve),
                *((name, self._wait(name, training)) for name in LEGACY),
                ("side by side", self._compare),
                ("shadow diff", self._shadow),
                ("migration", self._migrate),
            ):
                yield title, self._noted(title, work)

    def answer(self) -> Answer:
        """What all steps add up to; written as evidence ``demo``."""
        last = self._log.impressions[-1]
        answer = Answer(
            headline=_headline(self._results["frozen"]),
            sentence=_sentence(self._results, self._log.manifest)
            + (f" {self._migrated.sentence}" if self._migrated else ""),
            made=self._log.manifest.made,
            user=int(last["user_id"][0]),
            item=int(last["item_id"][0]),
            steps=tuple(self._told),
        )
        self._workspace.write_evidence("demo", answer)
        return answer

    def _noted(self, title: str, work: Work) -> Work:
        def run(progress: Callable[..., None]) -> str:
            outcome = work(progress)
            self._told.append({"name": title, "text": outcome})
            return outcome

        return run

    def _train(self, progress: Callable[..., None]) -> str:
        self._model = train_unified(self._workspace, self._log, self._split, self._seed, progress)
        return model_line(self._model)

    def _retrieve(self, progress: Callable[..., None]) -> str:
        assert self._model is not None
        judged = train_retrieval(self._workspace, self._log, self._split, self._model, self._seed, progress)
        return judged.as_line()

    def _wait(self, name: str, training: dict[str, Any]) -> Work:
        def work(progress: Callable[..., None]) -> str:
            training[name].result()
            folder = self._workspace.legacy_model(name)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            return f"trained by its own program, {size / 1e3:,.0f} kB of artefacts"

        return work

    def _compare(self, progress: Callable[..., None]) -> str:
        models = {name: self._workspace.legacy_model(name) for name in LEGACY}
        running = self._background.enter_context(
            serving(LEGACY, self._workspace.log, models, self._split.validation_day)
        )
        self._urls = {name: one.url for name, one in running.items()}
        self._results = compare_running(
            self._workspace, self._log, self._split, self._urls, self._seed, progress, ("frozen",)
        )
        claims = [verdict.answer for one in self._results.values() for verdict in one.verdicts]
        return (
            f"{self._split.test.height:,} held-out impressions · {claims.count('holds')} of {len(claims)} claims hold"
        )

    def _shadow(self, progress: Callable[..., None]) -> str:
        stack = open_stack(self._workspace, self._log)
        self._diffs = shadow_remotes(self._workspace, self._log, stack, self._urls, 100, progress)
        overlaps = (f"{name} {diff.slate.overlap_at_k:.0%}" for name, diff in self._diffs.items())
        return "unified slates share " + ", ".join(overlaps) + " of the items"

    def _migrate(self, progress: Callable[..., None]) -> str:
        self._migrated = migrate_made_world(self._workspace, self._seed, progress)
        return self._migrated.summary()


def _headline(frozen: SideBySide) -> str:
    """The answer in one short sentence."""
    ones = _gains(frozen, SCORE["frozen"])
    if all(one.difference and one.difference.low > 0 for one in ones):
        return "The unified stack orders long views better than both stacks it replaces, alone or blended."
    return "The unified stack is not proven to order long views better than the stacks it replaces."


def _sentence(results: dict[Regime, SideBySide], manifest: Manifest) -> str:
    """What the unified stack gains and costs on the held-out days, with intervals, in both regimes."""
    frozen = results["frozen"]
    days = f"{min(frozen.split.test_days)}–{max(frozen.split.test_days)}"
    gains = {regime: _gains(one, SCORE[regime]) for regime, one in results.items()}
    better = all(one.difference and one.difference.low > 0 for one in gains["frozen"])
    what = "orders long views better than what it replaces" if better else "is not proven to order long views better"
    told = (
        f"{regime} state {', '.join(f'{_signed(one.difference)} against {one.against}' for one in ones)}"
        for regime, ones in gains.items()
    )
    kind = "made" if manifest.made else "real"
    return (
        f"on {kind} days {days} of {manifest.name} the unified stack {what}: {'; '.join(told)} (mean of GAUC and nDCG@5, 95 %). "
        f"{_cost(frozen)}"
    )


def _gains(result: SideBySide, score: str) -> list[Comparison]:
    """The primary differences: against the better legacy stack (chosen on validation) and against the rank-average."""
    return [
        one for one in result.comparisons if one.family == "primary" and one.metric == "primary" and one.score == score
    ]


def _cost(result: SideBySide) -> str:
    heads = [one for one in result.comparisons if one.family == "heads" and one.enough and one.difference]
    worse = [one for one in heads if one.difference and one.difference.mid < -0.005]
    if not worse:
        return f"None of {len(heads)} heads of surfaces with enough rows is worse by more than .005 AUC."
    named = ", ".join(f"{one.head} on {one.surface} {_signed(one.difference)}" for one in worse)
    return f"{len(worse)} of {len(heads)} heads of surfaces are worse by more than .005 AUC: {named}."


def _signed(interval: Interval | None) -> str:
    return "unknown" if interval is None else f"{interval.mid:+.4f} ({interval.low:+.4f}…{interval.high:+.4f})"
