"""Conversations know their visitor and whether their words may be used; turns can be replaced and stay."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LIVE = sa.text("replaced_at is null")


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    with op.batch_alter_table("conversation") as batch_op:
        batch_op.add_column(sa.Column("visitor_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("shared", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.create_index(batch_op.f("ix_conversation_visitor_sha256"), ["visitor_sha256"], unique=False)
    with op.batch_alter_table("conversation") as batch_op:
        batch_op.alter_column("shared", server_default=None)
    with op.batch_alter_table("turn") as batch_op:
        batch_op.add_column(sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.drop_constraint(batch_op.f("uq_turn_conversation_id_position"), type_="unique")
    op.create_index(
        "uq_turn_live",
        "turn",
        ["conversation_id", "position"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index(op.f("ix_turn_conversation_id"), "turn", ["conversation_id"], unique=False)


def downgrade() -> None:
    """Go back to the revision before; what was replaced is lost."""
    op.execute("DELETE FROM turn WHERE replaced_at IS NOT NULL")
    op.drop_index(op.f("ix_turn_conversation_id"), table_name="turn")
    op.drop_index("uq_turn_live", table_name="turn")
    with op.batch_alter_table("turn") as batch_op:
        batch_op.create_unique_constraint(
            batch_op.f("uq_turn_conversation_id_position"), ["conversation_id", "position"]
        )
        batch_op.drop_column("replaced_at")
    with op.batch_alter_table("conversation") as batch_op:
        batch_op.drop_index(batch_op.f("ix_conversation_visitor_sha256"))
        batch_op.drop_column("shared")
        batch_op.drop_column("visitor_sha256")
