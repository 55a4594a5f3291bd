"""Command line: `python -m interest_first train ...` and `python -m interest_first serve ...`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: our products are small, and sums must not vary

from . import VERSION
from .folder import FolderError, read_history, read_impressions, read_items, read_people
from .learn import Log, train
from .model import load_model
from .plans import HOUSE_PLANS, PlanError, read_plans
from .stack import Stack
from .web import open_server


def _words() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="interest_first", description="The interest-first recommendation stack.")
    verbs = words.add_subparsers(dest="verb", required=True)
    learn = verbs.add_parser("train", help="learn a model from a log folder")
    learn.add_argument("--log", type=Path, required=True, metavar="FOLDER")
    learn.add_argument(
        "--until", type=int, required=True, metavar="DAY", help="yyyymmdd; this day and later are not read"
    )
    learn.add_argument("--out", type=Path, required=True, metavar="MODELDIR")
    learn.add_argument("--seed", type=int, default=7)
    learn.add_argument("--plans", type=Path, default=HOUSE_PLANS, help="delivery plans other than the house's")
    serve = verbs.add_parser("serve", help="answer the five routes of the remote protocol")
    serve.add_argument("--log", type=Path, required=True, metavar="FOLDER")
    serve.add_argument("--model", type=Path, required=True, metavar="MODELDIR")
    serve.add_argument("--port", type=int, required=True, help="0 picks one")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--until", type=int, metavar="DAY", help="state as of this day's start; default: as trained")
    return words


def run_train(log: Path, until: int, out: Path, seed: int, plans: Path = HOUSE_PLANS) -> None:
    """Trains on the days before `until` and writes the model folder."""
    read = Log(read_impressions(log, until), read_history(log), read_items(log), read_people(log))
    model = train(read, dict(read_plans(plans)), seed)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.npz")
    shutil.copyfile(plans, out / "plans.half")
    os.replace(out / "plans.half", out / "plans.toml")
    about = {"version": VERSION, "until": until, "seed": seed, "impressions": len(read.impressions)}
    (out / "about.half").write_text(json.dumps(about | {"history": len(read.history)}, indent=1) + "\n")
    os.replace(out / "about.half", out / "about.json")


def load_stack(log: Path, model: Path, until: int | None = None) -> Stack:
    """A stack ready to answer, with the log before `until` in its memory."""
    try:
        about = json.loads((model / "about.json").read_text())
    except (OSError, ValueError) as error:
        raise FolderError(f"no interest-first model in {model}: {error}") from error
    rows = read_history(log).then(read_impressions(log, until or about["until"]))
    plans = dict(read_plans(model / "plans.toml"))
    return Stack(load_model(model / "model.npz"), plans, read_items(log), read_people(log), rows, about["seed"])


def run_serve(log: Path, model: Path, host: str, port: int, until: int | None) -> None:
    """Serves until told to stop."""
    server = open_server(load_stack(log, model, until), host, port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"listening on http://{host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; 2 when it could not be done as asked."""
    asked = vars(_words().parse_args(argv))
    verb = asked.pop("verb")
    try:
        (run_train if verb == "train" else run_serve)(**asked)
    except (FolderError, PlanError, OSError) as error:
        print(f"interest_first: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
