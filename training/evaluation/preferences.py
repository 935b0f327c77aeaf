"""How often a system's own discriminator prefers what people preferred, on preferences that it never learnt from.

Knows bundles and exported preferences; draws no reply. U different contexts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chatbot.bundle import load_bundle, read_config
from training.config import DataConfig
from training.errors import FeedbackError
from training.evaluation.intervals import Floats
from training.evaluation.systems import System
from training.feedback.agreement import agreement, all_margins
from training.feedback.encoding import encode_preferences
from training.feedback.reading import read_feedback
from training.feedback.records import Preference
from training.precision import Precision


def preferences_to_measure(paths: Sequence[Path], systems: Sequence[System]) -> tuple[Preference, ...]:
    """Return the exported preferences that no system's D can have learnt from.

    Where a run was given feedback these are of the contexts that it held out; where none was, all of them. Raises
    FeedbackError when none is left.
    """
    feedback = read_feedback(paths)
    told = [info for system in systems for path in system.bundles if (info := _told(path)) is not None]
    share = min((float(info["held_out_share"]) for info in told), default=1.0)
    kept = feedback.kept_out(share)
    if not kept:
        raise FeedbackError(
            f"{', '.join(map(str, paths))}: no preference to measure agreement on ({len(feedback.preferences)} between "
            f"different texts, of which the runs held out the contexts of {len(kept)})"
        )
    return kept


def agreements(
    systems: Sequence[System], preferences: Sequence[Preference], precision: Precision, device: torch.device
) -> Mapping[tuple[str, int], Floats]:
    """Return the agreement of each system and training seed by context, [U]; none for those without a D.

    Without `preferences` it is what a run with feedback measured itself when it kept its bundle: one number, [1].
    """
    found: dict[tuple[str, int], Floats] = {}
    by_bundle: dict[Path, Floats | None] = {}
    for system in systems:
        for seed, path in enumerate(system.bundles):
            if path not in by_bundle:
                by_bundle[path] = _agreement(path, preferences, precision, device)
            values = by_bundle[path]
            if values is not None:
                found[system.name, seed] = values
    return found


def _agreement(
    path: Path, preferences: Sequence[Preference], precision: Precision, device: torch.device
) -> Floats | None:
    if not preferences:
        value = (read_config(path).get("info") or {}).get("metrics", {}).get("d_feedback_agreement")
        return None if value is None else np.array([float(value)])
    bundle = load_bundle(path, device)
    if bundle.discriminator is None:
        return None
    limits = DataConfig(bundle.limits.context_tokens, bundle.limits.reply_tokens)
    compared = encode_preferences(preferences, bundle.tokenizer, limits, device)
    margin = all_margins(bundle.discriminator, compared, precision)
    return np.asarray(agreement(margin, compared.owner).cpu().numpy(), np.float64)


def _told(path: Path) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (read_config(path).get("info") or {}).get("feedback")
    return found
