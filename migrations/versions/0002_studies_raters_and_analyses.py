"""Studies with their items, raters and leases; judgements of every kind; analyses. Thumbs already given stay."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OLD_CHECKS = {"value_by_kind": "kind = 'thumb' and value is not null and value in (-1, 1)"}
CHECKS = {
    "about_one_thing": "(response_id is null) <> (assignment_id is null)",
    "value_by_kind": (
        "(kind = 'thumb' and response_id is not null and dimension = '' and choice is null"
        " and value is not null and value in (-1, 1))"
        " or (kind = 'scale' and dimension <> '' and choice is null"
        " and value is not null and value between 1 and 5)"
        " or (kind = 'pair' and assignment_id is not null and dimension = '' and value is null"
        " and choice is not null and choice in ('a', 'b', 'tie', 'both_bad') and side is not null)"
        " or (kind = 'turing' and assignment_id is not null and dimension = '' and value is null"
        " and choice is not null and choice in ('human', 'machine'))"
    ),
    "side": "side is null or (kind = 'pair' and side in ('left', 'right'))",
    "rater": "assignment_id is null or rater_id is not null",
    "dwell": "dwell_ms is null or dwell_ms >= 0",
}
FIRST_JUDGEMENTS = [
    ("uq_judgement_assignment", ["assignment_id", "dimension"], "assignment_id is not null"),
    ("uq_judgement_rater", ["response_id", "rater_id", "dimension"], "rater_id is not null"),
    ("uq_judgement_anonymous", ["response_id", "dimension"], "rater_id is null"),
]


def _replace_checks(old: dict[str, str], new: dict[str, str]) -> None:
    with op.batch_alter_table("judgement") as batch_op:
        for name in old:
            batch_op.drop_constraint(batch_op.f(f"ck_judgement_{name}"), type_="check")
        for name, condition in new.items():
            batch_op.create_check_constraint(batch_op.f(f"ck_judgement_{name}"), condition)


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=255), nullable=False),
        sa.Column(
            "detail", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_at"), "audit_event", ["at"], unique=False)

    op.create_table(
        "study",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column(
            "protocol", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'closed') = (closed_at is not null)", name=op.f("ck_study_closed")),
        sa.CheckConstraint("status = 'draft' or started_at is not null", name=op.f("ck_study_started")),
        sa.CheckConstraint("status in ('draft', 'running', 'closed')", name=op.f("ck_study_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("slug", name=op.f("uq_study_slug")),
    )
    op.create_table(
        "analysis_run",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "rules", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("code_version", sa.String(length=64), nullable=False),
        sa.Column("last_judgement_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "result", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_analysis_run_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analysis_run")),
    )
    op.create_index(op.f("ix_analysis_run_study_id"), "analysis_run", ["study_id"], unique=False)

    op.create_table(
        "dimension",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column(
            "anchors", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_dimension_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dimension")),
        sa.UniqueConstraint("study_id", "name", name=op.f("uq_dimension_study_id_name")),
    )
    op.create_table(
        "invitation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("max_raters", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("max_raters >= 1", name=op.f("ck_invitation_max_raters")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_invitation_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_invitation_token_sha256")),
    )
    op.create_index(op.f("ix_invitation_study_id"), "invitation", ["study_id"], unique=False)

    op.create_table(
        "item",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("context_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("response_a_id", sa.String(length=48), nullable=False),
        sa.Column("response_b_id", sa.String(length=48), nullable=True),
        sa.Column(
            "gold",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("repeats_item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("target", sa.Integer(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.CheckConstraint("(kind = 'pair') = (response_b_id is not null)", name=op.f("ck_item_pair")),
        sa.CheckConstraint("(purpose = 'gold') = (gold is not null)", name=op.f("ck_item_gold")),
        sa.CheckConstraint("(purpose = 'gold') = (target is null)", name=op.f("ck_item_target")),
        sa.CheckConstraint("(purpose = 'repeat') = (repeats_item_id is not null)", name=op.f("ck_item_repeat")),
        sa.CheckConstraint("kind in ('scale', 'pair', 'turing')", name=op.f("ck_item_kind")),
        sa.CheckConstraint("purpose in ('normal', 'gold', 'aa', 'repeat')", name=op.f("ck_item_purpose")),
        sa.CheckConstraint("status in ('open', 'done', 'withdrawn')", name=op.f("ck_item_status")),
        sa.CheckConstraint(
            "done >= 0 and (target is null or (target >= 1 and done <= target))", name=op.f("ck_item_done")
        ),
        sa.CheckConstraint("response_b_id is null or response_a_id <> response_b_id", name=op.f("ck_item_two_replies")),
        sa.ForeignKeyConstraint(["context_id"], ["context.id"], name=op.f("fk_item_context_id_context")),
        sa.ForeignKeyConstraint(["repeats_item_id"], ["item.id"], name=op.f("fk_item_repeats_item_id_item")),
        sa.ForeignKeyConstraint(["response_a_id"], ["response.id"], name=op.f("fk_item_response_a_id_response")),
        sa.ForeignKeyConstraint(["response_b_id"], ["response.id"], name=op.f("fk_item_response_b_id_response")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_item_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
        sa.UniqueConstraint("study_id", "position", name=op.f("uq_item_study_id_position")),
    )
    op.create_index(op.f("ix_item_context_id"), "item", ["context_id"], unique=False)
    op.create_index(op.f("ix_item_repeats_item_id"), "item", ["repeats_item_id"], unique=False)
    op.create_index(op.f("ix_item_response_a_id"), "item", ["response_a_id"], unique=False)
    op.create_index(op.f("ix_item_response_b_id"), "item", ["response_b_id"], unique=False)

    op.create_table(
        "rater",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=48), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("invitation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("external_ref", sa.String(length=255), nullable=True),
        sa.Column("token_sha256", sa.String(length=64), nullable=True),
        sa.Column("consent_version", sa.String(length=64), nullable=True),
        sa.Column("consented_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('invited', 'chat', 'simulated')", name=op.f("ck_rater_kind")),
        sa.CheckConstraint("(consent_version is null) = (consented_at is null)", name=op.f("ck_rater_consent")),
        sa.CheckConstraint(
            "erased_at is null or (external_ref is null and token_sha256 is null)", name=op.f("ck_rater_erased")
        ),
        sa.ForeignKeyConstraint(["invitation_id"], ["invitation.id"], name=op.f("fk_rater_invitation_id_invitation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rater")),
        sa.UniqueConstraint("public_id", name=op.f("uq_rater_public_id")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_rater_token_sha256")),
    )
    op.create_index(op.f("ix_rater_invitation_id"), "rater", ["invitation_id"], unique=False)

    op.create_table(
        "assignment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rater_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("swapped", sa.Boolean(), nullable=False),
        sa.Column("lease_token", sa.String(length=48), nullable=False),
        sa.Column("leased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("skip_reason", sa.String(length=32), nullable=True),
        sa.Column("flag", sa.String(length=32), nullable=True),
        sa.Column("flag_comment", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'skipped') = (skip_reason is not null)", name=op.f("ck_assignment_skipped")),
        sa.CheckConstraint(
            "(state in ('done', 'skipped')) = (finished_at is not null)", name=op.f("ck_assignment_finished")
        ),
        sa.CheckConstraint("state in ('leased', 'done', 'skipped', 'expired')", name=op.f("ck_assignment_state")),
        sa.CheckConstraint("flag_comment is null or flag is not null", name=op.f("ck_assignment_flag")),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_assignment_item_id_item")),
        sa.ForeignKeyConstraint(["rater_id"], ["rater.id"], name=op.f("fk_assignment_rater_id_rater")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
        sa.UniqueConstraint("item_id", "rater_id", name=op.f("uq_assignment_item_id_rater_id")),
        sa.UniqueConstraint("lease_token", name=op.f("uq_assignment_lease_token")),
    )
    op.create_index(op.f("ix_assignment_rater_id"), "assignment", ["rater_id"], unique=False)
    op.create_index(
        "uq_assignment_open_lease",
        "assignment",
        ["rater_id"],
        unique=True,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )

    op.create_table(
        "exclusion",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rater_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("analysis_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column(
            "detail", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["analysis_run_id"], ["analysis_run.id"], name=op.f("fk_exclusion_analysis_run_id_analysis_run")
        ),
        sa.ForeignKeyConstraint(["rater_id"], ["rater.id"], name=op.f("fk_exclusion_rater_id_rater")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_exclusion_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exclusion")),
    )
    op.create_index(op.f("ix_exclusion_analysis_run_id"), "exclusion", ["analysis_run_id"], unique=False)
    op.create_index(op.f("ix_exclusion_rater_id"), "exclusion", ["rater_id"], unique=False)
    op.create_index(op.f("ix_exclusion_study_id"), "exclusion", ["study_id"], unique=False)

    op.create_table(
        "quality_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rater_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column(
            "detail", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("outcome in ('pass', 'fail', 'unknown')", name=op.f("ck_quality_event_outcome")),
        sa.ForeignKeyConstraint(["rater_id"], ["rater.id"], name=op.f("fk_quality_event_rater_id_rater")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_quality_event_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_event")),
    )
    op.create_index(op.f("ix_quality_event_rater_id"), "quality_event", ["rater_id"], unique=False)
    op.create_index(op.f("ix_quality_event_study_id"), "quality_event", ["study_id"], unique=False)

    op.add_column("context", sa.Column("source", sa.String(length=255), nullable=True))
    op.add_column("context", sa.Column("split", sa.String(length=16), nullable=True))

    with op.batch_alter_table("judgement") as batch_op:
        batch_op.add_column(
            sa.Column("assignment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
        )
        batch_op.add_column(sa.Column("rater_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True))
        batch_op.add_column(sa.Column("dimension", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("choice", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("side", sa.String(length=8), nullable=True))
        batch_op.add_column(sa.Column("blind", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("dwell_ms", sa.Integer(), nullable=True))
        batch_op.add_column(
            sa.Column(
                "reasons",
                sa.JSON(none_as_null=True).with_variant(
                    postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
                ),
                nullable=True,
            )
        )
        batch_op.alter_column("response_id", existing_type=sa.String(length=48), nullable=True)
        batch_op.create_foreign_key(batch_op.f("fk_judgement_rater_id_rater"), "rater", ["rater_id"], ["id"])
        batch_op.create_foreign_key(
            batch_op.f("fk_judgement_assignment_id_assignment"), "assignment", ["assignment_id"], ["id"]
        )
    _replace_checks(OLD_CHECKS, CHECKS)
    with op.batch_alter_table("judgement") as batch_op:
        # The defaults were for the rows there are; new ones come from the program.
        batch_op.alter_column("dimension", existing_type=sa.String(length=64), server_default=None)
        batch_op.alter_column("blind", existing_type=sa.Boolean(), server_default=None)
    op.create_index(op.f("ix_judgement_assignment_id"), "judgement", ["assignment_id"], unique=False)
    op.create_index(op.f("ix_judgement_rater_id"), "judgement", ["rater_id"], unique=False)
    for name, columns, condition in FIRST_JUDGEMENTS:
        where = sa.text(f"supersedes is null and {condition}")
        op.create_index(name, "judgement", columns, unique=True, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    # What revision 0001 has no place for; a chain of judgements is of one kind, so no kept one loses its predecessor.
    op.execute("delete from judgement where kind <> 'thumb'")
    for name, _, _ in FIRST_JUDGEMENTS:
        op.drop_index(name, "judgement")
    op.drop_index(op.f("ix_judgement_rater_id"), "judgement")
    op.drop_index(op.f("ix_judgement_assignment_id"), "judgement")
    _replace_checks(CHECKS, OLD_CHECKS)
    with op.batch_alter_table("judgement") as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_judgement_assignment_id_assignment"), type_="foreignkey")
        batch_op.drop_constraint(batch_op.f("fk_judgement_rater_id_rater"), type_="foreignkey")
        batch_op.alter_column("response_id", existing_type=sa.String(length=48), nullable=False)
        for name in ("reasons", "dwell_ms", "blind", "side", "choice", "dimension", "rater_id", "assignment_id"):
            batch_op.drop_column(name)

    op.drop_column("context", "split")
    op.drop_column("context", "source")

    for table in (
        "quality_event",
        "exclusion",
        "assignment",
        "rater",
        "item",
        "invitation",
        "dimension",
        "analysis_run",
        "study",
        "audit_event",
    ):
        op.drop_table(table)
