"""Both legacy programs, as processes, under the suite that any outside stack runs."""

from __future__ import annotations

import pytest

from mainstem.data.log import read_log
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.testing.remote_suite import RemoteSuite
from mainstem.workspace.programs import serving, train

SMALL = WorldSettings(users=300, items=800, days=4, impressions=6_000, seed=5)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocol") / "log"
    write_world_log(make_world(SMALL), folder)
    return folder


def _running(name: str, log, suite: type[RemoteSuite]):
    read = read_log(log)
    until = read.days[-1]
    model = log.parent / name
    train(name, log, model, until, seed=7)
    first = read.impressions.filter(read.impressions["day"] >= until).row(0, named=True)
    shown = read.impressions["item_id"].value_counts(sort=True)["item_id"].head(3).to_list()
    suite.user_id, suite.surface, suite.now_ms = first["user_id"], "feed", first["time_ms"]
    suite.item_ids = tuple(shown)
    return serving((name,), log, {name: model}, until)


class TestContentFirst(RemoteSuite):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def running(cls, log):
        with _running("content-first", log, cls) as running:
            cls.url = running["content-first"].url
            yield


class TestInterestFirst(RemoteSuite):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def running(cls, log):
        with _running("interest-first", log, cls) as running:
            cls.url = running["interest-first"].url
            yield
