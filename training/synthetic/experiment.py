"""The oracle experiment as its user calls it: which oracle, how large, and the files that it leaves."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from training.synthetic.likelihood import LikelihoodSettings
from training.synthetic.oracle import draw_oracle, load_oracle
from training.synthetic.oracle_bench import SYSTEMS, OracleOptions, Say, run_oracle
from training.synthetic.oracle_report import picture, rows, text
from training.synthetic.published import Schedule
from training.synthetic.recipe import RecipeSettings

QUICK = OracleOptions(
    sequences=1000,
    measured=1000,
    mle=LikelihoodSettings(epochs=20),
    tuned=LikelihoodSettings(epochs=10, decay=True, weight_decay=0.3, dropout=0.2, early_stopping=True),
    judge=LikelihoodSettings(epochs=10, decay=True, weight_decay=0.3, dropout=0.4, early_stopping=True),
    seqgan=Schedule(rounds=2, rollouts=4, pretraining=1, judge_sets=1, judge_epochs=1, evaluate_every=1),
    placebo=Schedule(rounds=20),
    best=RecipeSettings(rounds=100),
)
"""For seeing the whole of it work; far too small for a claim."""


def oracle_experiment(
    oracle: Path | None, out: Path, seeds: Sequence[int], systems: Sequence[str], quick: bool, say: Say
) -> str:
    """Run the experiment, write `out` (JSON) and its picture, and return the table as text.

    The parts of a run stand in a directory beside `out`, so that an interrupted one goes on. Raises RunError for an
    oracle that cannot be read and for a directory of parts that belongs to another experiment.
    """
    if oracle is None:
        about: dict[str, str] = {"drawn_from_seed": "0"}
        model = draw_oracle(0)
    else:
        model = load_oracle(oracle)
        about = {"file": oracle.name, "sha256": hashlib.sha256(oracle.read_bytes()).hexdigest()}
    options = QUICK if quick else OracleOptions()
    out.parent.mkdir(parents=True, exist_ok=True)
    result = run_oracle(model, about, options, seeds, systems or SYSTEMS, out.with_suffix(".parts"), say)
    table = rows(result["parts"])
    out.with_suffix(".svg").write_bytes(picture(result["parts"]))
    out.write_text(json.dumps({"rows": table, "curves": result.pop("parts"), **result}, indent=1) + "\n")
    return text(table)
