"""The model card that a bundle carries: what made it, from what, and how it measures. For people."""

import json
import math
from collections.abc import Mapping
from typing import Any

from training.composition import to_tree
from training.config import Config


def model_card(config: Config, about: Mapping[str, Any], data: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    metrics = info["metrics"]
    rows = [f"| {name} | {value:.4g} |" for name, value in metrics.items()]
    if "valid_nll" in metrics:
        rows.insert(0, f"| validation perplexity | {math.exp(metrics['valid_nll']):.4g} |")
    licences = data.get("licenses") or {}
    return "\n".join(
        [
            "# Reply generator",
            "",
            f"Recipe `{info['recipe']}`, stage `{info['stage']}`, step {info['step']}. {_made_of(config)}.",
            "",
            "A small dialogue model that imitates the conversations that it was trained on, their faults included. "
            "It knows no facts, and nothing filters what it says.",
            "",
            "## Data",
            "",
            f"Licences: {', '.join(licences) or 'not stated'}.",
            "",
            *_feedback(info.get("feedback")),
            "## Measured on validation dialogues",
            "",
            "Replies sampled at temperature 1. These figures describe the model; they do not say that people like it.",
            "",
            "| measure | value |",
            "|---|---|",
            *rows,
            "",
            "## Configuration",
            "",
            "```json",
            json.dumps(to_tree(config), indent=2),
            "```",
            "",
        ]
    )


def _made_of(config: Config) -> str:
    generator = config.generator
    if generator.architecture != "pretrained":
        return f"Architecture `{generator.architecture}`, width {generator.width}"
    how = f"low-rank adapters of rank {generator.lora.rank}" if generator.tuning == "lora" else "all its weights"
    source = generator.path or config.start
    return f"Pretrained language model `{source}`, of which {how} learnt; its licence holds here, too"


def _feedback(feedback: Mapping[str, Any] | None) -> list[str]:
    if feedback is None:
        return []
    shuffled = " They were shuffled: a placebo." if feedback["shuffled"] else ""
    return [
        "## What people said",
        "",
        f"The discriminator also learnt from {feedback['preferences']:,} preferences, {feedback['thumbs_up']:,} thumbs "
        f"up and {feedback['thumbs_down']:,} thumbs down; {feedback['held_out_preferences']:,} preferences of other "
        f"contexts were kept from it.{shuffled}",
        "",
    ]
