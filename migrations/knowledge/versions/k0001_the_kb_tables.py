"""The kb tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = 'k0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The kb tables"""
    op.create_table('kb_change_sets',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('author_id', sa.String(length=120), nullable=False),
    sa.Column('author', sa.String(length=120), nullable=False),
    sa.Column('author_kind', sa.String(length=20), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('relayed', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_change_sets'))
    )
    with op.batch_alter_table('kb_change_sets', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_kb_change_sets_at'), ['at'], unique=False)

    op.create_table('kb_entries',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('section', sa.String(length=400), nullable=False),
    sa.Column('key', sa.String(length=400), nullable=False),
    sa.Column('kind', sa.String(length=10), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_by', sa.String(length=120), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_entries')),
    sa.UniqueConstraint('section', 'key', name=op.f('uq_kb_entries_section_key')),
    sqlite_autoincrement=True
    )
    op.create_table('kb_restores',
    sa.Column('job_id', sa.String(length=32), nullable=False),
    sa.Column('snapshot_id', sa.String(length=40), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('job_id', name=op.f('pk_kb_restores'))
    )
    op.create_table('kb_changes',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('change_set_id', sa.String(length=32), nullable=False),
    sa.Column('entry_id', sa.Integer(), nullable=False),
    sa.Column('section', sa.String(length=400), nullable=False),
    sa.Column('key', sa.String(length=400), nullable=False),
    sa.Column('action', sa.String(length=10), nullable=False),
    sa.Column('before', sa.JSON(), nullable=True),
    sa.Column('after', sa.JSON(), nullable=True),
    sa.ForeignKeyConstraint(['change_set_id'], ['kb_change_sets.id'], name=op.f('fk_kb_changes_change_set_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_changes'))
    )
    with op.batch_alter_table('kb_changes', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_kb_changes_change_set_id'), ['change_set_id'], unique=False)
        batch_op.create_index('ix_kb_changes_entry', ['section', 'key'], unique=False)



def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table('kb_changes', schema=None) as batch_op:
        batch_op.drop_index('ix_kb_changes_entry')
        batch_op.drop_index(batch_op.f('ix_kb_changes_change_set_id'))

    op.drop_table('kb_changes')
    op.drop_table('kb_restores')
    op.drop_table('kb_entries')
    with op.batch_alter_table('kb_change_sets', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_kb_change_sets_at'))

    op.drop_table('kb_change_sets')
