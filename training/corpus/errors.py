"""What can be wrong with a corpus. Whoever faces the user prints it as one line."""

from chatbot.errors import RejoinderError


class CorpusError(RejoinderError):
    """The sources, the options or a prepared dataset cannot be used; says what was found and what was expected."""
