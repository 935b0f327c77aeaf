"""Files, batches with their lines, and the replicas that work at them. Nothing that was there changes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _json() -> sa.JSON:
    return sa.JSON(none_as_null=True).with_variant(
        postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
    )


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    op.create_table(
        "stored_file",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("purpose in ('batch', 'batch_output')", name=op.f("ck_stored_file_purpose")),
        sa.CheckConstraint("bytes >= 0", name=op.f("ck_stored_file_bytes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_file")),
    )
    op.create_index(op.f("ix_stored_file_created_at_id"), "stored_file", ["created_at", "id"], unique=False)

    op.create_table(
        "batch",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("input_file_id", sa.String(length=48), nullable=False),
        sa.Column("completion_window", sa.String(length=16), nullable=False),
        sa.Column("labels", _json(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("faults", _json(), nullable=True),
        sa.Column("output_file_id", sa.String(length=48), nullable=True),
        sa.Column("error_file_id", sa.String(length=48), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("in_progress_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finalizing_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelling_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', 'cancelling',"
            " 'cancelled')",
            name=op.f("ck_batch_status"),
        ),
        sa.CheckConstraint(
            "completed >= 0 and failed >= 0 and completed + failed <= total", name=op.f("ck_batch_counts")
        ),
        sa.CheckConstraint(
            "(status in ('completed', 'failed', 'expired', 'cancelled')) = (ended_at is not null)",
            name=op.f("ck_batch_ended"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
    )
    op.create_index(op.f("ix_batch_created_at_id"), "batch", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_batch_input_file_id"), "batch", ["input_file_id"], unique=False)
    op.create_index(op.f("ix_batch_status"), "batch", ["status"], unique=False)

    op.create_table(
        "batch_line",
        sa.Column("batch_id", sa.String(length=48), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.id"], name=op.f("fk_batch_line_batch_id_batch"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "number", name=op.f("pk_batch_line")),
    )
    op.create_table(
        "replica",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replica")),
    )


def downgrade() -> None:
    """Take the schema back to the revision before; the content of files stays on the disk."""
    for table in ("replica", "batch_line", "batch", "stored_file"):
        op.drop_table(table)
