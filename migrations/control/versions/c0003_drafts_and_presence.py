"""Drafts of the knowledge base, and who edits it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = 'c0003'
down_revision = 'c0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables for unsaved work and for who is at work."""
    op.create_table('kb_drafts',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('instance', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=120), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('touched_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('saving', sa.String(length=32), nullable=True),
    sa.Column('moved_to', sa.String(length=32), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_drafts'))
    )
    op.create_index('ix_kb_drafts_account', 'kb_drafts', ['instance', 'account_id'])
    op.create_table('kb_draft_entries',
    sa.Column('draft_id', sa.String(length=32), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['draft_id'], ['kb_drafts.id'], name=op.f('fk_kb_draft_entries_draft_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('draft_id', 'number', name=op.f('pk_kb_draft_entries'))
    )
    op.create_table('kb_presence',
    sa.Column('tab', sa.String(length=32), nullable=False),
    sa.Column('instance', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=120), nullable=False),
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('part', sa.String(length=400), nullable=False),
    sa.Column('entry_id', sa.Integer(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('tab', name=op.f('pk_kb_presence'))
    )
    op.create_index('ix_kb_presence_part', 'kb_presence', ['instance', 'part'])


def downgrade() -> None:
    """Take it back."""
    for name in ('kb_presence', 'kb_draft_entries', 'kb_drafts'):
        op.drop_table(name)
