"""Training as torchrun starts it: `torchrun --nproc-per-node 2 -m training cseqgan --data data/support --out runs/s`.

The same as `rejoinder train`, for many processes; without torchrun, for one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chatbot.errors import RejoinderError
from training import ranks
from training.commands import train


def main(arguments: Sequence[str] | None = None) -> None:
    """Train; exit status 0 done, 1 it failed, 2 it was called wrongly."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Train a generator, on one rank or many.")
    parser.add_argument("recipe", nargs="?", help="left out with --resume")
    parser.add_argument("--data", type=Path, help="prepared dataset")
    parser.add_argument("--out", type=Path, default=Path("run"), help="run directory, the same for all ranks")
    parser.add_argument("--preset", help="size: toy, demo, small, base")
    parser.add_argument("--set", dest="settings", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument("--resume", action="store_true", help="continue the run at --out, on any number of ranks")
    parser.add_argument("--feedback", type=Path, metavar="FILE", action="append", default=[], help="exported ratings")
    told = parser.parse_args(arguments)
    try:
        with ranks.joined():
            train(
                told.recipe,
                data=told.data,
                out=told.out,
                preset=told.preset,
                settings=told.settings,
                resume=told.resume,
                feedback=told.feedback,
            )
    except RejoinderError as error:
        print(f"python -m training: {error}", file=sys.stderr)  # noqa: T201 - this is a command line
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
