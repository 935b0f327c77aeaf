"""The one form of text that models learn from and are asked in. Knows no files, tokens or dialogues."""

import unicodedata
from typing import Final

_CONTROLS: Final = dict.fromkeys(
    [code for code in (*range(0x20), *range(0x7F, 0xA0)) if not chr(code).isspace()] + [0xFEFF]
)
"""Control characters other than white space, and the byte order mark, which files pasted together leave in the text."""


def clean_turn(text: str) -> str:
    """Return `text` in NFC, without control characters, white space squeezed to single spaces and stripped.

    Corpora are cleaned to this form, so a message typed in another one must meet the tokens that were learnt.
    """
    # Controls go first: taking one out can bring two characters together that NFC makes one.
    text = text.translate(_CONTROLS)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())
