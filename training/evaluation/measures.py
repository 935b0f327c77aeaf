"""What is measured, in words: the name in files, the label on pages, which way is better, and what it means.

Knows how measures are called; refuses to know how they are computed.
"""

from dataclasses import asdict, dataclass
from typing import Final, Literal

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Measure:
    """One measure. `better` is empty where the human value, not an end of the scale, is what to come near."""

    name: str
    label: str
    group: str
    better: Better
    meaning: str
    form: str = ".3f"
    """How a value is written."""

    def written(self, value: float) -> str:
        """Return a value as text."""
        return f"{value:{self.form}}"

    def difference(self, value: float) -> str:
        """Return the difference of two values as text, with its sign; those of shares are percentage points."""
        return f"{100 * value:+.1f} points" if self.form.endswith("%") else f"{value:+{self.form}}"


QUALITY, DIVERSITY = "How good single replies are", "How varied the replies are together"
DISTRIBUTION, FORM = "How close to human replies as a whole", "Length and habits"
JUDGE = "What its discriminator has learnt"

MEASURES: Final = (
    Measure("adver_suc", "Taken for human (AdverSuc)", QUALITY, "higher",
            "share of replies that a fresh n-gram evaluator takes for human; .5 is what human replies reach", ".1%"),
    Measure("adver_suc_slow", "Taken for human, Transformer", QUALITY, "higher",
            "the same by a small Transformer that reads context and reply", ".1%"),
    Measure("auc", "Told apart (AUC)", QUALITY, "lower",
            "chance that the evaluator ranks a human reply above a machine's; .5 is no better than a coin"),
    Measure("relevance", "Relevance", QUALITY, "higher",
            "mean reciprocal rank of the true context among 50, ranked by a matcher of contexts and replies"),
    Measure("forward", "Fluency (forward LM)", QUALITY, "",
            "mean log-probability of a token under an n-gram model of human replies, in nats; dull replies score high",
            ".2f"),
    Measure("max_bleu", "BLEU, several references", QUALITY, "higher",
            "mean over contexts of the best BLEU against the human replies that are given for each", ".2f"),
    Measure("perplexity", "Perplexity of human replies", QUALITY, "lower",
            "how surprised the generator is by a token of the human reply; none for reranked systems", ".1f"),
    Measure("distinct_1", "Distinct-1", DIVERSITY, "", "different words per token, over equal numbers of tokens"),
    Measure("distinct_2", "Distinct-2", DIVERSITY, "", "different word pairs per token, likewise"),
    Measure("distinct_3", "Distinct-3", DIVERSITY, "", "different word triples per token, likewise"),
    Measure("ent_4", "Ent-4", DIVERSITY, "", "entropy of word quadruples in nats, over equal numbers of tokens", ".2f"),
    Measure("self_bleu", "Self-BLEU", DIVERSITY, "", "how much replies repeat each other; lower is more varied"),
    Measure("distinct_replies", "Different replies", DIVERSITY, "", "share of replies that differ", ".1%"),
    Measure("top_1", "Most frequent reply", DIVERSITY, "", "its share of all replies", ".1%"),
    Measure("top_10", "Ten most frequent", DIVERSITY, "", "their share of all replies", ".1%"),
    Measure("frechet_reply", "Frechet distance, replies", DISTRIBUTION, "lower",
            "between embeddings of half of the replies and of human replies to the other half; human is the floor"),
    Measure("frechet_pair", "Frechet distance, pairs", DISTRIBUTION, "lower",
            "the same of context and reply together, so replies that do not fit are further away"),
    Measure("reverse", "Reverse LM", DISTRIBUTION, "higher",
            "mean log-probability of human replies, in nats per token, under an n-gram model of the machine's: "
            "low where it misses what people say", ".2f"),
    Measure("dull", "Dull replies", FORM, "", "share of stock replies, such as not knowing", ".1%"),
    Measure("copy_rate", "Copied from context", FORM, "", "share of the word pairs that the context holds", ".1%"),
    Measure("length", "Length", FORM, "", "mean tokens of a reply", ".1f"),
    Measure("feedback_agreement", "Feedback agreement", JUDGE, "higher",
            "share of people's preferences, of contexts that it never learnt from, in which the system's own D prefers "
            "the same reply; .5 is a coin", ".1%"),
)  # fmt: skip

CURVED: Final = ("adver_suc", "relevance", "forward")
"""The measures of quality that are followed over the sweep and compared at equal diversity; the first one decides."""


def measure(name: str) -> Measure:
    """Return the measure of that name. Raises KeyError for none."""
    return {each.name: each for each in MEASURES}[name]


def described() -> list[dict[str, str]]:
    """Return the measures as a report lists them."""
    return [
        {key: value for key, value in asdict(each).items() if key in ("name", "label", "better", "meaning")}
        for each in MEASURES
    ]
