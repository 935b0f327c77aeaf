"""Exports: what goes in is settled before the first byte leaves, then rows are read and written in a stream."""

from collections.abc import Iterator

from app.database import Database
from app.errors import BadRequestError
from app.exports import repository
from app.exports.formats import encode
from app.exports.rows import rows
from app.exports.schemas import Format, Kind
from app.results import repository as results_repository
from app.results.board import excluded_by, judge_all_raters
from app.studies.repository import get_study


def export(database: Database, kind: Kind, form: Format, study: str | None = None) -> Iterator[bytes]:
    """Return the pieces of an export of all judgements until now, or of one study's.

    Raises NotFoundError for an unknown study, BadRequestError for thumbs of a study: a study has none.
    """
    if study is not None and kind == "thumbs":
        raise BadRequestError("study: thumbs are given in the chat and belong to no study", param="study")
    with database.reading() as session:  # of its own: the lock of `last_judgement` must not outlast it
        study_id = None if study is None else get_study(session, study).id
        mark = results_repository.last_judgement(session, study_id)
    with database.reading() as session:
        withdrawn = results_repository.withdrawn_items(session, study_id)
        evidence = results_repository.evidence(session, study_id, mark, withdrawn)
        protocols = {one.id: one.protocol for one in results_repository.studies_with_judgements(session, mark)}
    excluded = excluded_by(judge_all_raters(evidence, protocols))
    return _pieces(database, kind, form, study_id, mark, excluded)


def _pieces(
    database: Database, kind: Kind, form: Format, study_id: int | None, mark: int, excluded: set[int]
) -> Iterator[bytes]:
    with database.reading() as session:
        systems = {system.id: system for system in results_repository.all_systems(session)}
        found = repository.exported(session, kind, study_id, mark)
        yield from encode(form, kind, rows(kind, found, systems, excluded))
