"""A new workspace for somebody's own log."""

from __future__ import annotations

from pathlib import Path

from mainstem.base.errors import ConfigError
from mainstem.base.settings import FILE

TEMPLATE = """# A Mainstem workspace. Every key is optional; `mainstem config show --origin` lists all of them with their defaults.
name = "{name}"
seed = 7

[data]
# Your log: a folder or file (CSV, TSV, Parquet, Arrow). KuaiRand, MovieLens and RetailRocket are recognised by themselves.
path = ""
# loader = "table"

# For any other table: our column = your column.
# [data.columns]
# user_id = "uid"
# item_id = "vid"
# time_ms = "ts"
# [data.time]
# unit = "s"
# zone = "UTC"
# [data.heads]
# click = "clicked"
# long_view = "watch_ms >= 0.7 * duration_ms"

[surfaces.base]
count = 10
# owner = "who answers for what it values and hides"
# Chances of what happens, times what each is worth beside one long view (docs/concepts/value.md).
value = "long_view + click_worth * click + like_worth * like + follow_worth * follow + comment_worth * comment \
+ forward_worth * forward + hate_worth * hate"

[surfaces.base.weights]
click_worth = 0.5
like_worth = 2
follow_worth = 4
comment_worth = 3
forward_worth = 3
hate_worth = -20

[surfaces.base.rules]
integrity = "closed"
seen = 50
creator_cap = 2
variety = 0.9
exploration_share = 0.05

# A new surface is these two lines, and no code. What it values otherwise is one line more: `mainstem surface set`.
[surfaces.feed]
extends = "base"

[surfaces.groups]
extends = "base"
# weights.comment_worth = 6

[surfaces.pages]
extends = "base"
rules.creator_cap = 1

# Features of your own: a Python file beside this one (docs/guides/add-a-feature.md).
# [features]
# definitions = "features.py"

# An outside stack joins by its address (docs/reference/remote-protocol.md).
# [remote.content-first]
# url = "http://127.0.0.1:8501"
"""


def make_workspace(folder: Path) -> Path:
    """Writes a commented ``mainstem.toml`` into a new folder.

    Raises:
        ConfigError: There is one already (``config-005``).
    """
    file = folder / FILE
    if file.exists():
        raise ConfigError(
            f"{file} is already there", code="config-005", hint="choose another folder, or edit that file"
        )
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(TEMPLATE.format(name=folder.resolve().name), encoding="utf-8")
    return file
