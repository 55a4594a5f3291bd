"""A KuaiRand folder of a few rows in the official CSV layout, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

START_MS = 1_650_816_000_000
"""2022-04-25 00:00 in Shanghai."""

FIRST_LOG = "log_standard_4_08_to_4_21_pure.csv"
SECOND_LOG = "log_standard_4_22_to_5_08_pure.csv"


def log_row(user: int, video: int, after_s: float, **more: Any) -> dict[str, Any]:
    """One official row; the time is seconds after ``START_MS``."""
    zeros = ("is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view", "is_click")
    rest = ("profile_stay_time", "comment_stay_time", "is_profile_enter", "is_rand")
    row = {
        "user_id": user,
        "video_id": video,
        "date": 20220425,
        "hourmin": 0,
        "time_ms": int(START_MS + after_s * 1000),
    }
    return (
        row
        | dict.fromkeys(zeros, 0)
        | {"play_time_ms": 0, "duration_ms": 9_000}
        | dict.fromkeys(rest, 0)
        | {"tab": 1}
        | more
    )


def write_folder(folder: Path, logs: dict[str, list[dict[str, Any]]]) -> Path:
    """Log files by name, and side files that know videos 0-2 and users 0-1."""
    folder.mkdir(exist_ok=True)
    for name, rows in logs.items():
        frame = pl.DataFrame(rows)
        frame.write_csv(folder / name) if name.endswith("csv") else frame.write_parquet(folder / name)
    videos = [
        f"{n},{100 + n},NORMAL,2022-04-1{n},Web,0.0,{'' if n == 1 else 9000.0},720,1280,{n * 7},9.0," for n in range(3)
    ]
    head = (
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height"
    )
    tags = ['"20,43"', "39", ""]
    lines = [video + tag for video, tag in zip(videos, tags, strict=True)]
    (folder / "video_features_basic_pure.csv").write_text("\n".join([f"{head},music_id,music_type,tag", *lines]) + "\n")
    feats = [f"onehot_feat{n}" for n in range(18)]
    head = ",".join(["user_id", "user_active_degree", "follow_user_num", "fans_user_num", "register_days", *feats])
    values = ",".join(str(n) if n != 4 else "" for n in range(18))
    (folder / "user_features_pure.csv").write_text(
        f"{head}\n0,full_active,5,6,700,{values}\n1,UNKNOWN,0,1,30,{values}\n"
    )
    return folder
