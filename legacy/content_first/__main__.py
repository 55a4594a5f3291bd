"""``python -m content_first train …`` and ``python -m content_first serve …``."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from pathlib import Path

# One thread: a product of these sizes gains nothing from a second one, and waits for it when the machine is busy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main(arguments: list[str] | None = None) -> int:
    """Trains or serves; 2 when what was asked cannot be done."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.verb == "train":
            from content_first.trainer import train

            model = train(asked.log, asked.until, asked.out, asked.seed)
            print(f"trained on {model.about['rows']} viewable impressions; networks: {', '.join(model.networks)}")
        else:
            from content_first.server import serve
            from content_first.stack import load_stack

            serve(load_stack(asked.log, asked.model, asked.until), asked.host, asked.port)
    except (ValueError, OSError) as wrong:
        print(f"content_first: {wrong}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="content_first", description="The content-first ranking stack.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    train = verbs.add_parser("train", help="learn from everything before a day")
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--seed", type=int, default=7)
    train.add_argument("--until", type=int, required=True, help="yyyymmdd, exclusive")
    serve = verbs.add_parser("serve", help="answer the remote protocol")
    serve.add_argument("--model", type=Path, required=True)
    serve.add_argument("--port", type=int, required=True, help="0 picks a free one")
    serve.add_argument("--host", type=_loopback, default="127.0.0.1")
    serve.add_argument("--until", type=int, help="yyyymmdd, exclusive; default: the model's")
    for verb in (train, serve):
        verb.add_argument("--log", type=Path, required=True, help="the log folder")
    return parser


def _loopback(host: str) -> str:
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError(f"{host} is not a loopback address; this stack has no door to the outside")
    return host


if __name__ == "__main__":
    sys.exit(main())
