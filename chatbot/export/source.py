"""What of a bundle can be exported: which generator it has, and whether that is the one a target can take."""

from chatbot.bundle import Bundle
from chatbot.errors import ExportError
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.generator.seq2seq import Seq2SeqGenerator


def own_generator(bundle: Bundle) -> Seq2SeqGenerator:
    """Return the bundle's generator. Raises ExportError for one that is not of our own make."""
    if not isinstance(bundle.generator, Seq2SeqGenerator):
        raise ExportError(
            "a generator on a pretrained language model goes to hf alone, from where its own tools take it; "
            "expected a recurrent or transformer one"
        )
    return bundle.generator


def language_model_generator(bundle: Bundle) -> PretrainedGenerator:
    """Return the bundle's generator. Raises ExportError for one of our own make."""
    if not isinstance(bundle.generator, PretrainedGenerator):
        raise ExportError("a generator of our own make has no language model, expected a pretrained one")
    return bundle.generator
