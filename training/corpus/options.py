"""How a dataset is prepared, and which values make sense. Does nothing by itself."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatbot.tokenizer import SMALLEST_VOCABULARY
from training.corpus.errors import CorpusError
from training.corpus.tables import TableColumns


@dataclass(frozen=True)
class PrepareOptions:
    """How to prepare a dataset at `out`."""

    out: Path
    format: str = "auto"
    """auto (by the file's suffix), jsonl, csv, tsv, text or chitchat."""
    columns: tuple[str, ...] = ()
    """CSV and TSV with a dialogue in each row: the columns that hold the turns, in order."""
    dialogue_column: str | None = None
    """CSV and TSV with a turn in each row: the column that says to which dialogue a row belongs."""
    text_column: str | None = None
    speaker_column: str | None = None
    max_turns: int = 6
    """Turns joined into the context."""
    vocabulary: int = 8000
    tokenizer: str | None = None
    """A bundle or language model (directory, .gguf or hub name) whose tokenizer is taken; without it one is trained."""
    valid: float = 0.025
    """Share of the dialogues for validation, where the data give no split."""
    test: float = 0.025
    seed: int = 0
    """Decides which dialogues are held out."""
    max_rejected: float = 0.01
    """Largest share of the records that may be unusable."""
    license: str | None = None
    """Licence of the data, where they do not say it themselves."""
    limit: int | None = None
    """Stop reading after so many dialogues; those that the data give to validation or test do not count."""
    overwrite: bool = False
    """Replace a prepared dataset at `out`."""

    def table_columns(self) -> TableColumns:
        """Return which columns of a table hold what."""
        return TableColumns(self.columns, self.dialogue_column, self.text_column, self.speaker_column)

    def check(self) -> None:
        """Raise CorpusError for a value that makes no sense."""
        if not SMALLEST_VOCABULARY <= self.vocabulary <= 65_536:
            raise CorpusError(f"vocabulary {self.vocabulary}: expected {SMALLEST_VOCABULARY} to 65536")
        for name, share in (("valid", self.valid), ("test", self.test), ("max_rejected", self.max_rejected)):
            if not 0 <= share <= 1:
                raise CorpusError(f"{name} {share}: expected a share between 0 and 1")
        if self.valid + self.test >= 1:
            raise CorpusError(f"valid {self.valid} and test {self.test} leave nothing for training")
        for name, number in (("max_turns", self.max_turns), ("limit", self.limit)):
            if number is not None and number < 1:
                raise CorpusError(f"{name} {number}: expected 1 or more")
        self.table_columns().named()

    def describe(self) -> dict[str, Any]:
        """Return the options as `dataset.json` tells them: without the places on this machine."""
        return {name: value for name, value in asdict(self).items() if name not in ("out", "overwrite", "tokenizer")}
