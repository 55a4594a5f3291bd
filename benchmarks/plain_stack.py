"""The plain stack, built as it usually is: FastAPI with a response model, HNSW, eager PyTorch, Python rules, JSON log lines.

It does the same work on as many items: retrieve 1,000 of 100,000, rank 500 with a network of the same size, value, rules,
50 items back, logged. Its features lie ready in memory, which the unified stack computes for each request.
"""

from __future__ import annotations

import json
import logging
import os
import random as python_random
import socket
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import hnswlib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks.made_platform import EXPERT, HIDDEN, ITEMS, SLATE, USERS, VECTOR_DIM, made_vectors  # noqa: E402
from mainstem.base.heads import PREDICTIONS  # noqa: E402
from mainstem.features.unified import UNIFIED  # noqa: E402
from mainstem.ranking.network import EXPERTS, STATIC_DIM  # noqa: E402

torch.set_num_threads(1)
USER_DIM = len(UNIFIED.columns_of("user"))
ITEM_DIM = len(UNIFIED.columns_of("item")) + len(UNIFIED.columns_of("cross")) + STATIC_DIM + VECTOR_DIM
WEIGHTS = {"long_view": 1.0, "click": 0.5, "like": 2.0, "follow": 4.0, "comment": 3.0, "forward": 3.0, "hate": -20.0}


class Ranker(nn.Module):
    """Three experts mixed by a gate, eight heads: the same parameters as the unified stack's network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(USER_DIM + ITEM_DIM, HIDDEN)
        self.experts = nn.ModuleList(nn.Linear(HIDDEN, EXPERT) for _ in range(EXPERTS))
        self.gate = nn.Linear(USER_DIM, EXPERTS)
        self.heads = nn.ModuleList(nn.Linear(EXPERT, 1) for _ in PREDICTIONS)

    def forward(self, user: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(torch.cat([user, items], dim=1)))
        experts = torch.stack([torch.relu(expert(hidden)) for expert in self.experts], dim=1)
        mixed = (experts * torch.softmax(self.gate(user), dim=1).unsqueeze(-1)).sum(dim=1)
        return torch.cat([torch.sigmoid(head(mixed)) for head in self.heads], dim=1)


class Ask(BaseModel):
    user_id: int
    count: int = SLATE


class ShownItem(BaseModel):
    item_id: int
    score: float
    propensity: float


class Answer(BaseModel):
    request_id: int
    surface: str
    items: list[ShownItem]
    degraded: list[str]


class Plain:
    """Everything a request needs, in memory."""

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        self.vectors = made_vectors(random, ITEMS)
        self.index = hnswlib.Index(space="ip", dim=VECTOR_DIM)
        self.index.init_index(ITEMS, M=24, ef_construction=100, random_seed=7)
        self.index.add_items(self.vectors, num_threads=-1)
        self.index.set_ef(500)
        self.index.set_num_threads(1)
        self.user_vectors = made_vectors(random, USERS + 1)
        self.users = random.standard_normal((USERS + 1, USER_DIM)).astype(np.float32)
        self.items = random.standard_normal((ITEMS, ITEM_DIM)).astype(np.float32)
        self.creators = random.integers(1, 8_000, ITEMS).tolist()
        self.categories = random.integers(0, 60, ITEMS).tolist()
        self.popular = random.permutation(ITEMS)[:500].tolist()
        self.seen = {user: set(random.integers(0, ITEMS, 50).tolist()) for user in range(USERS + 1)}
        self.ranker = Ranker().eval()

    def retrieve(self, user_id: int) -> list[int]:
        labels, distances = self.index.knn_query(self.user_vectors[user_id][None], k=500)
        scores = {item: 1 - distance for item, distance in zip(labels[0].tolist(), distances[0].tolist(), strict=True)}
        for place, item in enumerate(self.popular):
            scores.setdefault(item, -place / 1e3)
        return sorted(scores, key=scores.__getitem__, reverse=True)[:1_000]

    def rank(self, user_id: int, candidates: list[int]) -> list[tuple[int, float]]:
        with torch.no_grad():
            items = torch.from_numpy(self.items[candidates])
            user = torch.from_numpy(self.users[user_id]).expand(len(candidates), -1)
            predictions = self.ranker(user, items).numpy()
        scored = []
        for item, row in zip(candidates, predictions.tolist(), strict=True):
            named = dict(zip(PREDICTIONS, row, strict=True))
            scored.append((item, sum(weight * named[head] for head, weight in WEIGHTS.items())))
        return sorted(scored, key=lambda one: -one[1])

    def rules(self, user_id: int, scored: list[tuple[int, float]], count: int) -> list[tuple[int, float, float]]:
        """Seen items out, two a creator, a discount for each further item of a category, a little chance."""
        seen, creators, categories = self.seen[user_id], {}, {}
        slate: list[tuple[int, float, float]] = []
        pool = [(item, score) for item, score in scored if item not in seen]
        while pool and len(slate) < count:
            window = pool[: 6 * count]
            best = max(
                range(len(window)),
                key=lambda at: window[at][1] * 0.9 ** categories.get(self.categories[window[at][0]], 0),
            )
            item, score = pool.pop(best)
            if creators.get(self.creators[item], 0) >= 2:
                continue
            creators[self.creators[item]] = creators.get(self.creators[item], 0) + 1
            categories[self.categories[item]] = categories.get(self.categories[item], 0) + 1
            slate.append((item, score, 0.95))
        if pool and python_random.random() < 0.05:
            slate[-1] = (*python_random.choice(pool), 0.05 / len(pool))
        return slate


def app_of(plain: Plain, log: logging.Logger) -> FastAPI:
    app = FastAPI()
    names = iter(range(1, 1 << 60))

    @app.post("/v1/surfaces/{surface}/rank", response_model=Answer)
    def rank(surface: str, ask: Ask) -> Answer:
        started = time.perf_counter()
        candidates = plain.retrieve(ask.user_id)
        scored = plain.rank(ask.user_id, candidates[: 500 if surface == "feed" else 1_000])
        slate = plain.rules(ask.user_id, scored, ask.count)
        items = [ShownItem(item_id=item, score=score, propensity=chance) for item, score, chance in slate]
        answer = Answer(request_id=next(names), surface=surface, items=items, degraded=[])
        took_ms = (time.perf_counter() - started) * 1e3
        features = [plain.items[one.item_id].tolist()[:37] for one in items]
        log.info(json.dumps({"user_id": ask.user_id, "took_ms": took_ms, "features": features, **answer.model_dump()}))
        return answer

    return app


def main(folder: Path) -> None:
    log = logging.getLogger("impressions")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(logging.FileHandler(folder / "impressions.jsonl"))
    app = app_of(Plain(), log)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as held:
        held.bind(("127.0.0.1", 0))
        held.listen(256)
        print(f"http://127.0.0.1:{held.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[held])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
