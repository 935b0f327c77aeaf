"""The first tables: systems, contexts, responses, conversations, judgements."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    op.create_table(
        "context",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "messages", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_context")),
        sa.UniqueConstraint("sha256", name=op.f("uq_context_sha256")),
    )
    op.create_table(
        "conversation",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation")),
    )
    op.create_table(
        "idempotency_record",
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "answer", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("route", "key", name=op.f("pk_idempotency_record")),
    )
    op.create_index(op.f("ix_idempotency_record_created_at"), "idempotency_record", ["created_at"], unique=False)

    op.create_table(
        "system",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "decoding", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("decoding_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(kind = 'checkpoint') = (weights_sha256 <> '')", name=op.f("ck_system_weights")),
        sa.CheckConstraint("kind in ('checkpoint', 'human', 'baseline')", name=op.f("ck_system_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system")),
        sa.UniqueConstraint(
            "name", "weights_sha256", "decoding_sha256", name=op.f("uq_system_name_weights_sha256_decoding_sha256")
        ),
    )
    op.create_table(
        "response",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("system_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("context_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("choice", sa.Integer(), nullable=False),
        sa.Column("finish_reason", sa.String(length=16), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("context_tokens", sa.Integer(), nullable=False),
        sa.Column("turns_used", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("finish_reason in ('stop', 'length')", name=op.f("ck_response_finish_reason")),
        sa.CheckConstraint("tokens >= 0 and context_tokens >= 0 and latency_ms >= 0", name=op.f("ck_response_counts")),
        sa.ForeignKeyConstraint(["context_id"], ["context.id"], name=op.f("fk_response_context_id_context")),
        sa.ForeignKeyConstraint(["system_id"], ["system.id"], name=op.f("fk_response_system_id_system")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_response")),
    )
    op.create_index(op.f("ix_response_context_id"), "response", ["context_id"], unique=False)
    op.create_index(op.f("ix_response_created_at"), "response", ["created_at"], unique=False)
    op.create_index(op.f("ix_response_system_id"), "response", ["system_id"], unique=False)

    op.create_table(
        "judgement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("response_id", sa.String(length=48), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Integer(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("supersedes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind = 'thumb' and value is not null and value in (-1, 1)", name=op.f("ck_judgement_value_by_kind")
        ),
        sa.ForeignKeyConstraint(["response_id"], ["response.id"], name=op.f("fk_judgement_response_id_response")),
        sa.ForeignKeyConstraint(["supersedes"], ["judgement.id"], name=op.f("fk_judgement_supersedes_judgement")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgement")),
        sa.UniqueConstraint("supersedes", name=op.f("uq_judgement_supersedes")),
    )
    op.create_index(op.f("ix_judgement_response_id"), "judgement", ["response_id"], unique=False)

    op.create_table(
        "turn",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("conversation_id", sa.String(length=48), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("response_id", sa.String(length=48), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(role = 'assistant') = (response_id is not null)", name=op.f("ck_turn_response")),
        sa.CheckConstraint("role in ('user', 'assistant')", name=op.f("ck_turn_role")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.id"],
            name=op.f("fk_turn_conversation_id_conversation"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["response_id"], ["response.id"], name=op.f("fk_turn_response_id_response")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turn")),
        sa.UniqueConstraint("conversation_id", "position", name=op.f("uq_turn_conversation_id_position")),
    )
    op.create_index(op.f("ix_turn_response_id"), "turn", ["response_id"], unique=False)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    op.drop_index(op.f("ix_turn_response_id"), "turn")

    op.drop_table("turn")
    op.drop_index(op.f("ix_judgement_response_id"), "judgement")

    op.drop_table("judgement")
    op.drop_index(op.f("ix_response_system_id"), "response")
    op.drop_index(op.f("ix_response_created_at"), "response")
    op.drop_index(op.f("ix_response_context_id"), "response")

    op.drop_table("response")
    op.drop_table("system")
    op.drop_index(op.f("ix_idempotency_record_created_at"), "idempotency_record")

    op.drop_table("idempotency_record")
    op.drop_table("conversation")
    op.drop_table("context")
