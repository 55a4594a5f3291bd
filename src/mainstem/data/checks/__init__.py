"""Contract checks of a log, one file each."""

from mainstem.data.checks.finding import Check, Finding
from mainstem.data.checks.report import CHECKS, Report, run_checks
from mainstem.data.checks.subject import Subject

__all__ = ["CHECKS", "Check", "Finding", "Report", "Subject", "run_checks"]
