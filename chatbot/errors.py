"""The errors that a user can cause. Whoever faces the user (command line, HTTP) prints them as one line."""

from typing import ClassVar


class RejoinderError(Exception):
    """Say in one sentence what was found and what was expected."""

    exit_status: ClassVar[int] = 1
    """Of the command line: 1, it failed; 2, it was called wrongly."""

    def __str__(self) -> str:
        """Return the sentence on one line, though a file's own words in it may have several."""
        return " ".join(part.strip() for part in super().__str__().splitlines())


class TokenizerError(RejoinderError):
    """The tokenizer file cannot be read or was not made by Rejoinder."""


class BundleError(RejoinderError):
    """The model directory is missing, truncated, altered or of another format version."""


class ExportError(RejoinderError):
    """A bundle cannot be written in the format that was asked for."""


class RequestError(RejoinderError):
    """A request for replies cannot be met; `param` names the offending field."""

    exit_status = 2

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class LanguageModelError(RejoinderError):
    """A pretrained language model cannot be had, or is not one that replies can be written with."""
