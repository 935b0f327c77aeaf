"""The errors of training that a user can cause."""

from chatbot.errors import RejoinderError


class ConfigError(RejoinderError):
    """A recipe, preset or setting does not exist or has a value that cannot be used."""

    exit_status = 2


class RunError(RejoinderError):
    """The run directory cannot be used as asked."""


class FeedbackError(RejoinderError):
    """An export of judgements, or a study's results, cannot be used."""
