"""Plans the tests share."""

from __future__ import annotations

SMALL = """
[program]
name = "One platform"
start = "2026-01-05"
holidays = ["2026-01-19"]
correlation = 0.4

[owners.ana]
name = "Ana"
team = "ranking"
escalates_to = "bo"
[owners.bo]
name = "Bo"

[workstreams.data]
owner = "ana"

[tasks.schema]
workstream = "data"
duration = [4, 5, 9]
[tasks.backfill]
workstream = "data"
duration = ["1w", "2w", "4w"]
after = ["schema"]
needs = { gpu = 4 }
[tasks.model]
owner = "bo"
duration = [3, 4, 6]
after = ["schema+1"]
needs = { gpu = 6 }

[milestones.feed]
after = ["backfill", "model"]
due = "2026-02-06"
frozen = true
gates = [{ kind = "parity", about = "feed", at_least = 0.99, max_age_days = 7 }]

[pools.gpu]
size = 8
unit = "GPU"
[freezes.quiet]
first = "2026-01-26"
last = "2026-01-30"
why = "quarter end"
[risks.late-logs]
owner = "bo"
chance = 0.3
delay = [5]
tasks = ["schema"]
"""
