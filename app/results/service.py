"""Analyses: made when there is something new to analyse, kept, and made again from what was kept."""

import json
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Analysis:
    """An analysis, and what it found about raters; one that is new is not stored yet."""

    run: AnalysisRun
    judged: list[Judged]
    is_new: bool

    def entry(self) -> dict[str, Any]:
        """Return it as JSON; only a stored one has a number."""
        return _entry(self.run, self.run.result)


def study_results(database: Database, slug: str, analysis: int | None = None) -> Analysis:
    """Return the analysis of a study as it is now, or the one with an id.

    Raises NotFoundError for an unknown study, or an analysis that is not the study's.
    """
    with database.reading() as session:
        study = get_study(session, slug)
        if analysis is not None:
            return _stored(session, study.id, analysis)
    return _newest(database, study.id, study.seed, {"quality": study.protocol["quality"]})


def leaderboard(database: Database, analysis: int | None = None) -> Analysis:
    """Return the analysis of all studies and thumbs as they are now, or the one with an id.

    Raises NotFoundError for an analysis that is not of all.
    """
    if analysis is None:
        return _newest(database, None, BOARD_SEED, {"quality": "as each study states"})
    with database.reading() as session:
        return _stored(session, None, analysis)


def keep(session: Session, analysis: Analysis) -> None:
    """Store a new analysis with the outcomes of checks that are new, and whom it left out; gives it its id."""
    study_id, judged = analysis.run.study_id, analysis.judged
    if study_id is None:
        repository.add_run(session, analysis.run, [], [])
    else:
        events = _events(study_id, judged, repository.last_outcomes(session, study_id))
        repository.add_run(session, analysis.run, events, _exclusions(study_id, judged))


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


def _newest(database: Database, study_id: int | None, seed: int, quality: dict[str, Any]) -> Analysis:
    with database.reading() as session:  # of its own: its lock must not outlast it
        mark = repository.last_judgement(session, study_id)
    # Nothing is locked while it is computed: raters go on judging meanwhile.
    with database.reading() as session:
        rules = {**quality, **common_rules(repository.withdrawn_items(session, study_id))}
        known = repository.newest_run(session, study_id)
        made_of = (mark, seed, code_version(), as_json(rules))
        if known and made_of == (known.last_judgement_id, known.seed, known.code_version, as_json(known.rules)):
            return Analysis(known, [], is_new=False)
        result, judged = _analyse(session, study_id, mark, seed, rules)
    run = AnalysisRun(
        study_id=study_id,
        rules=rules,
        seed=seed,
        code_version=code_version(),
        last_judgement_id=mark,
        result=result,
        created_at=now(),
    )
    return Analysis(run, judged, is_new=True)


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


def _stored(session: Session, study_id: int | None, analysis: int) -> Analysis:
    run = repository.find_run(session, analysis)
    if run is None or run.study_id != study_id:
        raise _no_analysis(analysis)
    return Analysis(run, [], is_new=False)


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
