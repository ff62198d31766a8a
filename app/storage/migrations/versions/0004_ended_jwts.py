"""JWTs without a device that signed out."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ended_jwts",
        sa.Column("jwt_hash", sa.LargeBinary(), primary_key=True, nullable=False),
        sa.Column("expires_at", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ended_jwts_expires_at", "ended_jwts", ["expires_at"])
