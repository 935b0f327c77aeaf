"""What a training run leaves beside its bundle, small: logged metrics, samples, and an evaluation's report."""

import json
from pathlib import Path

EVIL = "<img src=x onerror=document.title='owned'><b>evil</b>"
"""Stands in a context and in a reply: a page must show it as it is written."""


def write_run(folder: Path) -> None:
    """Write the files; the last line of the metrics is cut off, as while a run is still writing it."""
    folder.mkdir(parents=True)
    metrics = [
        {
            "step": step,
            "stage": "mle",
            "nll": 5 - step / 1000,
            "valid_nll": 4.5 - step / 1500,
            "valid_distinct_2": 0.3 + step / 4000,
            "valid_mean_length": 6 + step / 500,
            "gradient_norm": 1.5 - step / 2000,
        }
        for step in range(100, 1100, 100)
    ] + [
        {
            "step": step,
            "stage": "adversarial",
            "valid_nll": 3.9 - step / 400,
            "valid_distinct_2": 0.55 + step / 600,
            "reward": 0.2 + step / 100,
            "d_accuracy": float("nan"),
        }
        for step in (10, 20, 30)
    ]
    lines = [json.dumps(row) for row in metrics]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, lines[-1][:20]]), encoding="utf-8")
    contexts = [f"Hi there. / {EVIL}?", "How was your weekend? / Not bad, and yours?", "周末过得怎么样？"]
    humans = ["Fine.", "I went hiking with my brother, and then it rained all afternoon.", "挺好的，去爬山了。"]
    samples = [
        {"step": step, "stage": "mle", "context": context, "human": human, "generator": f"{EVIL} {step}"}
        for step in (100, 500, 1000)
        for context, human in zip(contexts, humans, strict=True)
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)), encoding="utf-8")
    curves = [
        {
            "system": system,
            "points": [
                {"values": {"distinct_2": {"value": 0.5 + t / 10}, "adver_suc": {"value": best - t * t / 60}}}
                for t in range(4)
            ],
        }
        for system, best in (("cseqgan", 0.42), ("mle", 0.31))
    ]
    report = {"format": 1, "curves": [*curves, {"system": "empty", "points": [{"values": {}}]}]}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
