"""Every format a plan can go to or come from, by the word that ``mainstem program export`` and ``import`` take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mainstem.program.exchange import Item
from mainstem.program.github_projects import read_github_project, write_github_project
from mainstem.program.jira_json import read_jira_json, write_jira_json
from mainstem.program.linear import read_linear
from mainstem.program.msproject import read_project, write_project
from mainstem.program.reading import Reading
from mainstem.program.taskjuggler import read_taskjuggler
from mainstem.program.trackers import read_github, read_jira, write_github, write_jira

WRITERS: Final[dict[str, Callable[[list[Item]], str]]] = {
    "github": write_github,
    "github-project": write_github_project,
    "jira": write_jira,
    "jira-json": write_jira_json,
    "msproject": write_project,
}
"""Formats that a plan goes to and comes back from."""

READERS: Final[dict[str, Callable[[str, str, list[float] | None], Reading]]] = {
    "github": read_github,
    "github-project": read_github_project,
    "jira": read_jira,
    "jira-json": read_jira_json,
    "linear": read_linear,
    "msproject": read_project,
    "taskjuggler": read_taskjuggler,
}
"""What reads a text, its name for refusals, and the days of a task without an estimate."""
