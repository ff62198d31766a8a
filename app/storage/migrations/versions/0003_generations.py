"""The generations of the numbering, which clients name with their positions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    generations = op.create_table(
        "generations",
        sa.Column("number", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
    )
    # Generation zero is all that was before. Its text is the bare epoch, so that the positions that
    # clients have stored hold; its id is the one that the guard file vouches for.
    zero = {"number": 0, "id": _guarded(), "first": 1}
    op.get_bind().execute(generations.insert(), [zero])
    op.execute("DELETE FROM meta WHERE key = 'generation'")


def _guarded() -> str:
    """Return the generation that the guard file names, zeros if there never was a guard."""
    found = op.get_bind().execute(sa.text("SELECT value FROM meta WHERE key = 'generation'"))
    return found.scalar_one_or_none() or "0" * 32
