"""What of a bundle can be exported: a generator of our own make."""

from chatbot.bundle import Bundle
from chatbot.errors import ExportError
from chatbot.generator.seq2seq import Seq2SeqGenerator


def own_generator(bundle: Bundle) -> Seq2SeqGenerator:
    """Return the bundle's generator. Raises ExportError for one that is not of our own make."""
    if not isinstance(bundle.generator, Seq2SeqGenerator):
        raise ExportError(
            "a generator on a pretrained language model is not exported, expected a recurrent or transformer one; "
            "the library that the language model is from saves it"
        )
    return bundle.generator
