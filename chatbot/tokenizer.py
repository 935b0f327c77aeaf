"""Text to token ids and back: a byte-level BPE, so English, Chinese and emoji round-trip exactly.

Knows the three reserved ids and nothing of dialogues: who joins turns into a context puts `TURN` between them.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from chatbot.errors import TokenizerError

PAD: Final = 0
START: Final = 1
"""Fed to the generator before the first token of a reply."""
TURN: Final = 2
"""Ends every turn: in the context it separates turns, in a reply it is the end token."""

RESERVED: Final = ("<pad>", "<start>", "<turn>")
SMALLEST_VOCABULARY: Final = len(RESERVED) + 256


class Tokenizer:
    """Encode text as token ids below `vocabulary_size` and decode them back, exactly."""

    def __init__(self, bpe: tokenizers.Tokenizer) -> None:
        found = tuple(bpe.id_to_token(i) for i in range(len(RESERVED)))
        if found != RESERVED:
            raise TokenizerError(f"the first three tokens are {found}, expected {RESERVED}")
        # Reserved tokens are looked up by id only. As ordinary text "<turn>" is five characters like any other:
        # a user who types it must not end a turn.
        bpe.encode_special_tokens = True
        self._bpe = bpe
        # A Unigram model, always a borrowed one, takes special tokens for pieces all the same, and has none for some
        # characters: neither is text that a language model could have learnt.
        unigram = isinstance(bpe.model, models.Unigram)
        added = bpe.get_added_tokens_decoder() if unigram else {}
        self._left_out = frozenset(i for i, token in added.items() if token.special)
        self.vocabulary_size: int = bpe.get_vocab_size()
        self._pieces: list[bytes] | None = None

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary_size: int) -> "Tokenizer":
        """Learn merges from `texts` until `vocabulary_size` ids are in use (fewer when the texts give no more).

        Raises TokenizerError when `vocabulary_size` leaves no room for the 256 bytes and the reserved ids.
        """
        if not SMALLEST_VOCABULARY <= vocabulary_size <= 65_536:
            raise TokenizerError(
                f"vocabulary size {vocabulary_size}: expected {SMALLEST_VOCABULARY} to 65536 (packed as 16 bits)"
            )
        bpe = tokenizers.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=list(RESERVED),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a `tokenizer.json`. Raises TokenizerError when it is missing or not one of ours."""
        try:
            tokenizer = cls(tokenizers.Tokenizer.from_file(str(path)))
            tokenizer._check()
            return tokenizer
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None
        except Exception as error:  # the library raises bare Exception for every fault of the file
            raise TokenizerError(f"{path}: cannot be read as a tokenizer ({error})") from None

    def _check(self) -> None:
        """Raise TokenizerError unless the ids are those below the vocabulary's size, each of some bytes."""
        ids = sorted(self._bpe.get_vocab().values())
        if ids != list(range(self.vocabulary_size)):
            raise TokenizerError(f"the ids are not 0 to {self.vocabulary_size - 1}, each once")
        alphabet = set(_byte_alphabet())
        for token in range(len(RESERVED), self.vocabulary_size):
            if not alphabet.issuperset(text := str(self._bpe.id_to_token(token))):
                raise TokenizerError(f"token {token} is {text[:40]!r}, which stands for no bytes")

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`."""
        path.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """Return what `tokenizer.json` holds, in the format of the `tokenizers` library."""
        return str(self._bpe.to_str())

    def same_as(self, other: "Tokenizer") -> bool:
        """Say whether `other` gives every text the same ids."""
        return self._bpe.to_str() == other._bpe.to_str()

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without reserved ids."""
        return self._kept(self._bpe.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; runs on all cores."""
        return [self._kept(e.ids) for e in self._bpe.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _kept(self, ids: list[int]) -> list[int]:
        return [i for i in ids if i not in self._left_out] if self._left_out else list(ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`; reserved ids give nothing."""
        return str(self._bpe.decode([i for i in ids if i >= len(RESERVED)], skip_special_tokens=False))

    def decode_turns(self, context: Sequence[int]) -> list[str]:
        """Return the text of each turn of a context, whose turns are ended by TURN; silent ones are left out."""
        turns: list[list[int]] = [[]]
        for token in context:
            if token == TURN:
                turns.append([])
            else:
                turns[-1].append(token)
        return [text for turn in turns if (text := self.decode(turn))]

    def piece(self, token: int) -> bytes:
        """Return the bytes that `token` stands for, which may be a part of a character; of reserved ids none."""
        if self._pieces is None:
            added = self._bpe.get_added_tokens_decoder()
            bytes_of = _byte_level if isinstance(self._bpe.decoder, decoders.ByteLevel) else _sentence_piece
            self._pieces = [b""] * len(RESERVED) + [
                added[i].content.encode() if i in added else bytes_of(str(self._bpe.id_to_token(i)))
                for i in range(len(RESERVED), self.vocabulary_size)
            ]
        return self._pieces[token]


def _byte_level(piece: str) -> bytes:
    bytes_of = _bytes_of_characters()
    return bytes(bytes_of[character] for character in piece)


_BYTE_PIECE: Final = re.compile(r"<0x([0-9A-F]{2})>")


def _sentence_piece(piece: str) -> bytes:
    """Return the bytes of a piece as SentencePiece writes it (Kudo and Richardson 2018), for borrowed tokenizers."""
    if byte := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    return piece.replace("\u2581", " ").encode()


@cache
def _bytes_of_characters() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(_byte_alphabet())}


def _byte_alphabet() -> list[str]:
    """Return the character that byte-level BPE writes for each byte: itself where it can be seen, else one from 256 on.

    The alphabet of GPT-2 (Radford et al. 2019), which the library uses and does not tell in the order of the bytes.
    """
    seen = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in seen else chr(next(hidden)) for byte in range(256)]
