"""Analyses, each repeatable from its row, and what they found about raters. Nothing here deletes a judgement."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Json, Key, Table


class QualityEvent(Table):
    """One check of one rater. `unknown` is an outcome of its own: too little is known to pass or to fail."""

    __tablename__ = "quality_event"
    __table_args__ = (CheckConstraint("outcome in ('pass', 'fail', 'unknown')", name="outcome"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    outcome: Mapped[str] = mapped_column(String(16))
    detail: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Instant)


class AnalysisRun(Table):
    """An analysis with all that is needed to run it again; without a study it is the board over everything."""

    __tablename__ = "analysis_run"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"), index=True)
    rules: Mapped[dict[str, Any]] = mapped_column(Json)
    seed: Mapped[int] = mapped_column(BigInteger)
    code_version: Mapped[str] = mapped_column(String(64))
    last_judgement_id: Mapped[int] = mapped_column(BigInteger)
    """Judgements up to this id were read; 0 when there was none."""
    result: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Instant)


class Exclusion(Table):
    """A rater whose judgements an analysis left out, and the rule that says so."""

    __tablename__ = "exclusion"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), index=True)
    analysis_run_id: Mapped[int] = mapped_column(ForeignKey("analysis_run.id"), index=True)
    rule: Mapped[str] = mapped_column(String(32))
    detail: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Instant)
