"""The whole run: chosen protocols one after another, evidence written after each, one answer at the end."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from mainstem.bench.context import Context
from mainstem.bench.packs import RANKING, Packs, chosen
from mainstem.bench.peers import Peers, peers_here
from mainstem.bench.ranking import ranking_tables
from mainstem.bench.records import Records, write_whole
from mainstem.bench.sequences import sequence_table
from mainstem.bench.tables import Table, Verdict

OUT: Final = Path(".bench/models.json")
CENSUS_NOTE: Final = (
    "census: only the test half of the set is at hand and it is no recommendation task: a random split of it would compare "
    "with no published table, so nothing is printed. The multi-task claim stands on KuaiRand's seven heads."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run printed.

    Attributes:
        tables: In the order of the protocols.
        notes: Protocols that print no table, and why.
        file: The evidence, tables and all.
    """

    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    made_at: str
    file: str

    @property
    def missed(self) -> tuple[Verdict, ...]:
        """Targets that were measured and not met."""
        return tuple(one for table in self.tables for one in table.verdicts if one.met is False)

    def markdown(self) -> str:
        """All tables, and at the end what was missed."""
        parts = [table.markdown() for table in self.tables] + [f"{note}\n" for note in self.notes]
        if self.missed:
            parts.append("Targets that are not met:\n\n" + "\n".join(f"- {one.sentence}" for one in self.missed) + "\n")
        return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for.

    Attributes:
        only: Names of protocols, comma-separated; empty for the default ones.
        peers: Whether other people's packages are measured too.
        seeds: Runs of whatever depends on a seed.
        data: The folder of public sets; None looks where the demo looks.
        out: The evidence file; its Markdown twin and the records lie beside it.
        resume: Go on from an earlier run's records.
    """

    only: str = ""
    peers: bool = True
    seeds: int = 5
    data: Path | None = None
    out: Path = OUT
    resume: bool = False


def bench_models(
    wanted: Wanted, progress: Callable[[float, str], None] = lambda share, what: None, peers: Peers | None = None
) -> Answer:
    """Runs the chosen protocols and writes evidence (JSON and Markdown) after each.

    Raises:
        BenchError: An unknown protocol (``bench-014``), a set that is not there (``bench-012``) or not what it should be
            (``bench-015``, ``bench-019``).
    """
    names = chosen(wanted.only)
    context = _context(wanted, peers or peers_here(), progress)
    answer = Answer((), (), _now(), str(wanted.out))
    for at, name in enumerate(names):
        part = replace(context, progress=_part(progress, at, len(names)))
        tables = _tables(part, name)
        notes = () if tables else (CENSUS_NOTE,)
        answer = replace(answer, tables=(*answer.tables, *tables), notes=answer.notes + notes, made_at=_now())
        _write(wanted.out, answer)
    progress(1.0, "")
    return answer


def _tables(context: Context, name: str) -> Sequence[Table]:
    if name == "census":
        return ()
    return ranking_tables(context, name) if name in RANKING else (sequence_table(context, name),)


def _context(wanted: Wanted, peers: Peers, progress: Callable[[float, str], None]) -> Context:
    place = wanted.out.with_suffix("").absolute()
    return Context(
        packs=Packs(wanted.data, place / "packs"),
        records=Records(place / "records", resume=wanted.resume),
        peers=peers if wanted.peers else None,
        seeds=wanted.seeds,
        scratch=place / "processes",
        progress=progress,
    )


def _part(progress: Callable[[float, str], None], at: int, of: int) -> Callable[[float, str], None]:
    return lambda share, what: progress((at + share) / of, what)


def _write(out: Path, answer: Answer) -> None:
    told = msgspec.to_builtins(answer) | {"missed": [one.sentence for one in answer.missed]}
    write_whole(out, msgspec.json.format(msgspec.json.encode(told), indent=1))
    write_whole(out.with_suffix(".md"), answer.markdown().encode())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
