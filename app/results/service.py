"""Analyses: made when there is something new to analyse, kept, and made again from what was kept."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from app.database import Database, now
from app.errors import NotFoundError
from app.results import board, repository
from app.results.analysis import StudyData, analyse_study
from app.results.evidence import Judged
from app.results.rules import code_version, common_rules
from app.results.tables import AnalysisRun, QualityEvent
from app.studies.repository import get_study
from app.studies.tables import Study

BOARD_SEED = 0


def study_results(database: Database, slug: str, analysis: int | None = None) -> dict[str, Any]:
    """Return the results of a study as they are now, or those of the analysis with an id.

    Raises NotFoundError for an unknown study, or an analysis that is not the study's.
    """
    with database.reading() as session:
        study = get_study(session, slug)
    if analysis is not None:
        return _stored(database, study.id, analysis)
    rules = {"quality": study.protocol["quality"]}
    return _newest(database, study.id, study.seed, rules)


def leaderboard(database: Database, analysis: int | None = None) -> dict[str, Any]:
    """Return the board over all studies and thumbs as it is now, or that of the analysis with an id.

    Raises NotFoundError for an analysis that is not of the board.
    """
    if analysis is not None:
        return _stored(database, None, analysis)
    return _newest(database, None, BOARD_SEED, {"quality": "as each study states"})


def run_again(database: Database, analysis: int) -> tuple[dict[str, Any], bool]:
    """Return what the analysis with an id gives when it is made again from its row, and whether that is the same.

    Raises NotFoundError when there is no such analysis.
    """
    with database.reading() as session:
        run = repository.find_run(session, analysis)
        if run is None:
            raise _no_analysis(analysis)
        result, _ = _analyse(session, run.study_id, run.last_judgement_id, run.seed, run.rules)
        return _entry(run, result), as_json(result) == as_json(run.result)


def as_json(result: dict[str, Any]) -> bytes:
    """Return `result` as JSON in one way only: equal results are equal bytes."""
    return json.dumps(result, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()


def _newest(database: Database, study_id: int | None, seed: int, quality: dict[str, Any]) -> dict[str, Any]:
    with database.writing() as session:  # for the lock alone: see `last_judgement`
        mark = repository.last_judgement(session, study_id)
    with database.reading() as session:
        rules = {**quality, **common_rules(repository.withdrawn_items(session, study_id))}
        known = repository.newest_run(session, study_id)
        made_of = (mark, seed, code_version(), as_json(rules))
        if known and made_of == (known.last_judgement_id, known.seed, known.code_version, as_json(known.rules)):
            return _entry(known, known.result)
        result, judged = _analyse(session, study_id, mark, seed, rules)
    # Nothing was locked while it was computed: raters go on judging meanwhile.
    run = AnalysisRun(
        study_id=study_id,
        rules=rules,
        seed=seed,
        code_version=code_version(),
        last_judgement_id=mark,
        result=result,
        created_at=now(),
    )
    with database.writing() as session:
        if study_id is None:
            repository.add_run(session, run, [], [])
        else:
            known_outcomes = repository.last_outcomes(session, study_id)
            repository.add_run(session, run, _events(study_id, judged, known_outcomes), _exclusions(study_id, judged))
    return _entry(run, result)


def _analyse(
    session: Session, study_id: int | None, mark: int, seed: int, rules: dict[str, Any]
) -> tuple[dict[str, Any], list[Judged]]:
    evidence = repository.evidence(session, study_id, mark, rules["without_items"])
    if study_id is None:
        studies = repository.studies_with_judgements(session, mark)
        thumbs = {system: (up, down) for system, up, down in repository.thumbs(session, mark)}
        data = board.BoardData(
            protocols={study.id: study.protocol for study in studies},
            slugs={study.id: study.slug for study in studies},
            evidence=evidence,
            thumbs=thumbs,
            systems=repository.systems(session, board.shown_systems(evidence, thumbs)),
        )
        return board.analyse_board(data, seed, rules), []
    study: Study = repository.get_study_by_id(session, study_id)
    analysed = analyse_study(
        StudyData(
            kind=study.protocol["kind"],
            protocol=study.protocol,
            systems=repository.systems(session, repository.systems_of_study(session, study_id)),
            evidence=evidence,
            public_ids=repository.public_ids(session, {one.rater for one in evidence}),
        ),
        seed,
        rules,
    )
    return {"study": study.slug, **analysed.result}, analysed.judged


def _stored(database: Database, study_id: int | None, analysis: int) -> dict[str, Any]:
    with database.reading() as session:
        run = repository.find_run(session, analysis)
        if run is None or run.study_id != study_id:
            raise _no_analysis(analysis)
        return _entry(run, run.result)


def _no_analysis(analysis: int) -> NotFoundError:
    return NotFoundError(f"there is no analysis {analysis} of this", param="analysis", code="analysis_not_found")


def _entry(run: AnalysisRun, result: dict[str, Any]) -> dict[str, Any]:
    return {
        **result,
        "analysis": run.id,
        "created": int(run.created_at.timestamp()),
        "seed": run.seed,
        "code_version": run.code_version,
        "last_judgement": run.last_judgement_id,
        "rules": run.rules,
    }


def _events(study_id: int, judged: list[Judged], known: dict[tuple[int, str, str | None], str]) -> list[QualityEvent]:
    """Return what is new: the first outcome of a check, and every other one than the last."""
    at = now()
    return [
        QualityEvent(
            study_id=study_id,
            rater_id=one.rater,
            kind=verdict.check,
            outcome=verdict.outcome,
            detail=asdict(verdict),
            created_at=at,
        )
        for one in judged
        for verdict in one.verdicts
        if known.get((one.rater, verdict.check, verdict.question)) != verdict.outcome
    ]


def _exclusions(study_id: int, judged: list[Judged]) -> list[dict[str, Any]]:
    at = now()
    return [
        {
            "study_id": study_id,
            "rater_id": one.rater,
            "rule": verdict.check,
            "detail": asdict(verdict),
            "created_at": at,
        }
        for one in judged
        if (verdict := one.excluded_by) is not None
    ]
