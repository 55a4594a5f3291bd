"""Which published facts carry over from real logs into a made world.

Every number here is a total or a marginal that KuaiRand publishes; nothing is read from the data at run time. A test marked
``real`` compares this table with the aggregates, and another compares a made log with this table.

Source: KuaiRand (Gao et al., CIKM 2022, CC BY-SA 4.0). ``27K`` are the aggregates of KuaiRand-27K, standard policy, 8 April to
8 May 2022; ``Pure`` are the base rates of KuaiRand-Pure over the whole period.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fact:
    """One number that a made world is fitted to.

    Args:
        value: The published figure.
        tolerance: How far a made log of the default size may lie from ``value``, in the same unit.
        source: Where the figure is from: the set, the table and how it was taken.
    """

    value: float
    tolerance: float
    source: str


_TABS = "27K log_standard_tab_stats; tabs 0 and 6 read as pages, 2 and 4 as groups, the rest as feed (our choice)"
_PURE = "Pure base rates (click .44)"

FACTS: Final[dict[str, Fact]] = {
    "click_standard": Fact(0.3787, 0.02, "27K random_vs_standard_comparison, ctr_standard"),
    "click_random": Fact(0.1762, 0.02, "27K random_vs_standard_comparison, ctr_random (all but 1 % of it in tab 1)"),
    "click_random_feed": Fact(0.1773, 0.025, "27K log_random_tab_stats, tab 1"),
    "share_feed": Fact(0.6784, 0.03, _TABS),
    "share_groups": Fact(0.1069, 0.03, _TABS),
    "share_pages": Fact(0.2147, 0.03, _TABS),
    "click_feed": Fact(0.4397, 0.03, _TABS),
    "click_groups": Fact(0.5098, 0.03, _TABS),
    "click_pages": Fact(0.1207, 0.03, _TABS),
    "long_view_per_click": Fact(0.31 / 0.44, 0.04, f"{_PURE}: long view .31"),
    "like_per_click": Fact(0.017 / 0.44, 0.008, f"{_PURE}: like .017"),
    "comment_per_click": Fact(0.0025 / 0.44, 0.0025, f"{_PURE}: comment .0025"),
    "follow_per_click": Fact(0.0013 / 0.44, 0.0015, f"{_PURE}: follow .0013"),
    "forward_per_click": Fact(0.0009 / 0.44, 0.0012, f"{_PURE}: forward .0009"),
    "hate": Fact(0.0008, 0.0005, "Pure base rates: hate .0008 of impressions; as often without a click as with one"),
    "item_top1_share": Fact(0.4411, 0.09, "27K log_standard_video_concentration, top1pct_exposure_share"),
    "item_gini": Fact(0.827, 0.06, "27K log_standard_video_exposure_freq (the pack's gini_approx of .531 is not it)"),
    "user_gini": Fact(0.457, 0.06, "27K log_standard_user_stats_distribution, exposures"),
    "items_per_request": Fact(5.81, 0.8, "27K log_standard_time_gap_bins: one over the share of gaps of 1 s or more"),
    "duration_p50_s": Fact(26.97, 4.0, "27K video_basic_video_duration_summary"),
    "duration_p90_s": Fact(168.9, 30.0, "27K video_basic_video_duration_summary"),
    "items_without_tags": Fact(0.031, 0.01, "27K video_basic_tag_count_distribution, tag_num 0"),
}
"""Each figure a made log must show, by name."""

WITHOUT_CLICK: Final[dict[str, float]] = {"like": 0.18, "follow": 0.14, "comment": 0.02, "forward": 0.06}
"""How often an action comes without a click, relative to its rate after one (Pure, 25 April to 5 May 2022)."""

HOURLY_SHARE: Final[tuple[float, ...]] = (
    0.03297, 0.02005, 0.01282, 0.00903, 0.00812, 0.01146, 0.02133, 0.03093, 0.03582, 0.04017, 0.04477, 0.04791,
    0.05284, 0.05316, 0.04795, 0.04893, 0.05149, 0.05438, 0.05847, 0.06166, 0.06614, 0.06863, 0.06783, 0.05313,
)  # fmt: skip
"""Share of a day's impressions in each local hour (27K log_standard_hourly)."""

DAILY_LOAD: Final[dict[int, float]] = {
    20220408: 0.9489, 20220409: 1.0456, 20220410: 1.0340, 20220411: 0.9164, 20220412: 0.8990, 20220413: 0.8839,
    20220414: 0.8837, 20220415: 0.9100, 20220416: 1.0295, 20220417: 1.0187, 20220418: 0.8701, 20220419: 0.8652,
    20220420: 0.8950, 20220421: 0.9104, 20220422: 0.9693, 20220423: 1.1179, 20220424: 0.9751, 20220425: 0.9404,
    20220426: 0.9384, 20220427: 0.9463, 20220428: 0.9565, 20220429: 1.0431, 20220430: 1.2094, 20220501: 1.2038,
    20220502: 1.1636, 20220503: 1.1542, 20220504: 1.1161, 20220505: 1.0034, 20220506: 1.0139, 20220507: 1.0306,
    20220508: 1.1076,
}  # fmt: skip
"""Impressions of each day over the mean day (27K log_standard_daily). Days that are not here count as 1."""
