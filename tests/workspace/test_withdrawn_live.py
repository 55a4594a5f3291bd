"""The workspace's own stack: a withdrawn item leaves the slates of every surface, also after a start anew."""

from __future__ import annotations

from served_world import made_workspace

from mainstem.workspace.platform import open_live


def slates(live) -> dict[str, list[int]]:
    return {name: live.dry_rank(live.request(5, 7, name, count=8)).item_ids.tolist() for name in live.surfaces}


def test_withdrawn_items_stay_away_and_places_are_filled(tmp_path):
    workspace = made_workspace(tmp_path)
    live = open_live(workspace)
    before = slates(live)
    assert live.stack.control.rules[0] == "withdrawn"
    gone = {item for shown in before.values() for item in shown}
    for item in gone:
        assert live.withdrawals.withdraw(item)
    for name, shown in slates(live).items():
        assert not gone & set(shown)
        assert len(shown) == len(before[name])
    trace = live.dry_rank(live.request(5, 7, "feed")).trace
    assert not gone & set(trace.item_ids.tolist())  # sources stop offering them, so no place is lost to the rule
    why = live.explain(live.request(5, 7, "feed"), next(iter(gone)))
    assert (why.outcome, why.rule) == ("filtered", "withdrawn")
    live.log.close()

    again = open_live(workspace)
    assert set(again.withdrawals.ids) == gone
    assert not gone & {item for shown in slates(again).values() for item in shown}
    for item in gone:
        again.withdrawals.put_back(item)
    assert slates(again) == before
    again.log.close()
