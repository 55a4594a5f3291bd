"""The exported graph: the served network to the last digits, in 8 bits nearly, and a ranker like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from brought_models import asked as request_of

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.features.unified import UNIFIED
from mainstem.ranking.calibrate import Calibrators, RequestCalibrators, fit_calibrators
from mainstem.ranking.export_onnx import ranker_graph
from mainstem.ranking.int8 import quantised
from mainstem.ranking.network import WEIGHTS, Network
from mainstem.ranking.onnx_network import OnnxRanker
from mainstem.stacks.ranker import CalibratedRanker
from mainstem.testing.ranker_suite import Asked, RankerSuite

ITEMS, HIDDEN, WIDTH, EXPERTS, RANK = 50, 24, 12, 5, 3
DRAW = np.random.default_rng(11)


def _weights(crosses: int = 2, groups: int = 2, thresholds: int = 6, scaled: bool = True) -> dict[str, np.ndarray]:
    """Made weights of every part a network may have."""
    u, i, x = (len(UNIFIED.columns_of(role)) for role in ("user", "item", "cross"))  # type: ignore[arg-type]
    answers = len(HEADS) + max(thresholds, 1)
    shapes: dict[str, tuple[int, ...]] = {
        "user_in": (u, HIDDEN), "user_bias": (HIDDEN,), "item_in": (i, HIDDEN), "cross_in": (x, HIDDEN),
        "static_in": (3, HIDDEN), "vector_in": (4, HIDDEN), "id_in": (2, HIDDEN), "category_in": (2, HIDDEN),
        "low_w": (crosses, HIDDEN, RANK), "high_w": (crosses, RANK, HIDDEN), "high_b": (crosses, HIDDEN),
        "scale_w": (u, HIDDEN if scaled else 0), "scale_b": (HIDDEN if scaled else 0,),
        "expert_w": (HIDDEN, EXPERTS * WIDTH), "expert_b": (EXPERTS * WIDTH,),
        "gate_w": (u, groups * EXPERTS), "gate_b": (groups * EXPERTS,),
        "head_w": (WIDTH, answers), "head_user_w": (u, answers), "head_item_w": (i, answers), "head_b": (answers,),
        "moment_in": (u, 2), "moment_bias": (2,), "moment_out": (2,),
    }  # fmt: skip
    made = {name: DRAW.normal(0.0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    opened = np.zeros((groups, EXPERTS, answers), np.float32)
    for at in range(answers):
        opened[at % groups, :, at] = 1.0
    if groups > 1:
        opened[0, 1], opened[1, 0] = 0.0, 0.0
    made["gate_open"] = opened
    made["watch_at"] = np.arange(thresholds, dtype=np.float32)
    made["watch_width"] = np.full(thresholds, 4.0, np.float32)
    assert set(made) == set(WEIGHTS), "the network has parts that the exporter was not told of"
    return made


def _calibrators(cells: bool = True) -> Calibrators:
    odds = DRAW.normal(-1.0, 1.5, (3_000, len(HEADS)))
    labels = (DRAW.random(odds.shape) < 1.0 / (1.0 + np.exp(-(0.7 * odds + 0.6)))).astype(np.int8)
    surface, cell = DRAW.integers(0, 2, 3_000), DRAW.integers(0, 3, 3_000)
    labels[cell == 2] = DRAW.integers(0, 2, labels[cell == 2].shape)
    p = np.concatenate([1.0 / (1.0 + np.exp(-odds)), np.ones((3_000, 1))], axis=1).astype(np.float32)
    return Calibrators.from_dict(fit_calibrators(p, labels, surface.astype(np.int8), 0, cell if cells else None))


FIRST = DRAW.normal(0.0, 0.3, (ITEMS + 1, HIDDEN)).astype(np.float32)
MAPS = _calibrators()
FACTS = {"items": str(ITEMS)}


def _rows(n: int = 300) -> tuple[np.ndarray, ...]:
    widths = [len(UNIFIED.columns_of(role)) for role in ("user", "item", "cross")]  # type: ignore[arg-type]
    user, item, cross = (DRAW.normal(0.0, 1.0, (n, width)).astype(np.float32) for width in widths)
    return user, DRAW.integers(-1, ITEMS, n), item, cross


@pytest.fixture(scope="module")
def made() -> tuple[Network, bytes]:
    weights = _weights()
    return Network(weights, FIRST), ranker_graph(weights, FIRST, MAPS, UNIFIED).in_bytes(FACTS)


class TestExported(RankerSuite):
    @pytest.fixture
    def ranker(self, made: tuple[Network, bytes]) -> OnnxRanker:
        return OnnxRanker(made[1])

    @pytest.fixture
    def asked(self) -> Asked:
        return request_of()


class TestEightBits(TestExported):
    # One scale for all activations of a call: a candidate's company moves it by a rounding of 8 bits.
    tolerance = 5e-3

    @pytest.fixture
    def ranker(self, eight_bits: bytes) -> OnnxRanker:
        return OnnxRanker(eight_bits)


class TestOurs(TestExported):
    @pytest.fixture
    def ranker(self, made: tuple[Network, bytes]) -> CalibratedRanker:  # type: ignore[override]
        return CalibratedRanker(made[0], MAPS, ("feed", "groups"))


@pytest.fixture(scope="module")
def eight_bits(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    graph = ranker_graph(_weights(), FIRST, MAPS, UNIFIED, small_items=True)
    return quantised(graph, tmp_path_factory.mktemp("int8"), FACTS)


@pytest.mark.parametrize("shape", [(2, 2, 6, True), (1, 1, 0, False), (0, 3, 4, True)])
def test_the_graph_says_what_the_network_says(shape: tuple[int, int, int, bool]) -> None:
    weights = _weights(*shape)
    network, (user, rows, item, cross) = Network(weights, FIRST), _rows()
    ranker = OnnxRanker(ranker_graph(weights, FIRST, MAPS, UNIFIED).in_bytes(FACTS))
    surface, cell = DRAW.integers(-1, 4, len(rows)), DRAW.integers(-1, 5, len(rows))
    wanted = MAPS.apply_many(network.many(user, rows, item, cross), surface, cell)
    got = ranker.scores(user, rows, item, cross, surface, cell)
    np.testing.assert_allclose(got[:, :7], wanted[:, :7], rtol=0, atol=1e-5)
    np.testing.assert_allclose(got[:, 7], wanted[:, 7], rtol=1e-5, atol=1e-5)


def test_one_request_is_asked_with_one_viewer(made: tuple[Network, bytes]) -> None:
    network, ranker = made[0], OnnxRanker(made[1])
    user, rows, item, cross = _rows(40)
    wanted = RequestCalibrators(MAPS).of_logits(network.logits(user[0], rows.astype(np.int32), item, cross), 1, 2)
    np.testing.assert_allclose(ranker.scores(user[0], rows, item, cross, 1, 2), wanted, rtol=1e-5, atol=1e-5)


def test_what_is_not_finite_takes_the_declared_default(made: tuple[Network, bytes]) -> None:
    network, ranker = made[0], OnnxRanker(made[1])
    user, rows, item, cross = _rows(20)
    user[0, 3], item[1, 2], cross[2, 1] = np.nan, np.inf, -np.inf
    wanted = MAPS.apply_many(network.many(user, rows, item, cross), np.zeros(20, np.int64))
    np.testing.assert_allclose(ranker.scores(user, rows, item, cross, 0), wanted, rtol=1e-5, atol=1e-5)


def test_an_item_the_exported_catalog_lacks_is_an_unknown_item(made: tuple[Network, bytes]) -> None:
    ranker, (user, rows, item, cross) = OnnxRanker(made[1]), _rows(9)
    beyond, unknown = np.full(9, ITEMS + 7), np.full(9, -1)
    np.testing.assert_array_equal(
        ranker.scores(user, beyond, item, cross, 0), ranker.scores(user, unknown, item, cross, 0)
    )
    assert len(rows) == 9


def test_the_same_model_is_the_same_file(made: tuple[Network, bytes]) -> None:
    weights = _weights()
    one, two = (ranker_graph(weights, FIRST, MAPS, UNIFIED).in_bytes({"b": "1", "a": "2"}) for _ in range(2))
    assert one == two
    assert OnnxRanker(one).facts == {"a": "2", "b": "1"}


def test_without_cells_there_is_no_cell_to_feed() -> None:
    weights, (user, rows, item, cross) = _weights(), _rows(30)
    plain = _calibrators(cells=False)
    ranker = OnnxRanker(ranker_graph(weights, FIRST, plain, UNIFIED).in_bytes(FACTS))
    wanted = plain.apply_many(Network(weights, FIRST).many(user, rows, item, cross), np.ones(30, np.int64))
    np.testing.assert_allclose(ranker.scores(user, rows, item, cross, 1, 2), wanted, rtol=1e-5, atol=1e-5)


def test_eight_bits_are_near_and_smaller(eight_bits: bytes) -> None:
    assert b"MatMulInteger" in eight_bits
    assert b"item_first_8" in eight_bits


def test_the_smaller_file_is_nearly_the_served_network(tmp_path: Path) -> None:
    weights, (user, rows, item, cross) = _weights(), _rows()
    network = Network(weights, FIRST)
    ranker = OnnxRanker(quantised(ranker_graph(weights, FIRST, MAPS, UNIFIED, small_items=True), tmp_path, FACTS))
    wanted = MAPS.apply_many(network.many(user, rows, item, cross), np.zeros(len(rows), np.int64))
    got = ranker.scores(user, rows, item, cross, 0)
    assert 0 < np.abs(got[:, :7] - wanted[:, :7]).max() < 0.01
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", [b"", b"nothing", None])
def test_a_file_that_is_no_graph_of_ours_is_refused(broken: bytes | None, tmp_path: Path) -> None:
    from brought_models import plain_onnx

    plain_onnx(tmp_path)
    with pytest.raises(ModelError) as refused:
        OnnxRanker(tmp_path / "model.onnx" if broken is None else broken)
    assert refused.value.code == ("model-062" if broken is None else "model-061")
