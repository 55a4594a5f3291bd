"""Who teaches which surface in a workspace, and the students there are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from mainstem.base.settings import TEACHER_OF
from mainstem.data.log import Log
from mainstem.ranking.student import Student, load_student
from mainstem.stacks.content_first import content_first
from mainstem.stacks.interest_first import interest_first
from mainstem.stacks.neutral import Taught
from mainstem.stacks.stage import Stack
from mainstem.stacks.teachers import Teacher
from mainstem.workspace.layout import Workspace

PORTS: Mapping[str, Callable[[Path, Log, int | None], Stack]] = {
    "content-first": content_first,
    "interest-first": interest_first,
}


def teachers(workspace: Workspace, log: Log, until: int | None) -> dict[str, Teacher]:
    """Both legacy stacks, ported, as they were before a day."""
    return {name: Teacher(port(workspace.legacy_model(name), log, until)) for name, port in PORTS.items()}


def students_folder(workspace: Workspace, teacher: str) -> Path:
    """Where a teacher's student lies."""
    return workspace.folder / "models" / "students" / teacher


def load_students(workspace: Workspace) -> dict[str, Student]:
    """Every student there is, by teacher."""
    found = {name: students_folder(workspace, name) for name in PORTS}
    return {name: load_student(folder) for name, folder in found.items() if (folder / "student.json").exists()}


def teacher_of(workspace: Workspace, surface: str) -> str:
    """Which legacy stack carries a surface today."""
    return workspace.settings.served()[surface].teacher or TEACHER_OF.get(surface, "content-first")


def open_taught(workspace: Workspace, log: Log, until: int | None, surfaces: Collection[str]) -> dict[str, Taught]:
    """Teacher and student of each of these surfaces that has one, as they are after the log or its days before ``until``."""
    students = load_students(workspace) if surfaces else {}
    names = {surface: teacher_of(workspace, surface) for surface in surfaces}
    before = until or day_after(log)
    held = {
        name: Taught(Teacher(PORTS[name](workspace.legacy_model(name), log, before)), student)
        for name, student in students.items()
        if name in names.values()
    }
    return {
        surface: held[name] for surface, name in names.items() if name in held and surface in held[name].student.towers
    }


def day_after(log: Log) -> int:
    """The first day the log does not hold, yyyymmdd."""
    last = str(log.impressions.select(pl.col("day").max()).item())
    return int((datetime.strptime(last, "%Y%m%d") + timedelta(days=1)).strftime("%Y%m%d"))
