"""What `rejoinder export` does."""

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast, get_args

from app.commands import opened, read_settings
from app.exports.schemas import Format, Kind
from app.exports.service import export as pieces_of
from chatbot.errors import RejoinderError


def export(kind: str, out: Path, form: str | None, study: str | None, **where: Any) -> str:
    """Write an export to `out`, which appears only when it is whole. Returns what to say."""
    kinds, forms = get_args(Kind), get_args(Format)
    if kind not in kinds:
        raise RejoinderError(f"{kind!r} cannot be exported; expected {', '.join(kinds)}")
    form = form or out.suffix.removeprefix(".")
    if form not in forms:
        raise RejoinderError(
            f"{out}: format {form!r}; expected {', '.join(forms)}, as --format or as the file's ending"
        )
    with opened(read_settings(**where)) as database:
        pieces = pieces_of(database, cast("Kind", kind), cast("Format", form), study)
        try:
            with NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
                written = Path(file.name)
                try:
                    for piece in pieces:
                        file.write(piece)
                except BaseException:
                    written.unlink()
                    raise
            written.replace(out)
        except OSError as error:
            raise RejoinderError(f"{out}: cannot be written ({error.strerror})") from None
    return f"{out}: {kind} written, {out.stat().st_size:,} bytes"
