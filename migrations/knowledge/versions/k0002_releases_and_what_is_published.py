"""Releases, what is published, dismissed findings and golden questions"""

from __future__ import annotations

import json
import uuid

import sqlalchemy as sa
from alembic import op

from db.knowledge import content_digest, kept_skeleton


revision = 'k0002'
down_revision = 'k0001'
branch_labels = None
depends_on = None

_AT_ONCE = 1000


def upgrade() -> None:
    """Tables for releases; a digest and a skeleton for every entry; counts of change sets."""
    _make_tables()
    # Not in a batch: SQLite would build kb_entries anew, and forget that an id is never
    # given twice.
    op.add_column(
        'kb_entries', sa.Column('digest', sa.String(length=32), nullable=False, server_default='')
    )
    op.add_column(
        'kb_entries',
        sa.Column('skeleton', sa.String(length=120), nullable=False, server_default=''),
    )
    op.create_index('ix_kb_entries_skeleton', 'kb_entries', ['section', 'skeleton'])
    op.create_index('ix_kb_entries_order', 'kb_entries', ['section', 'position', 'id'])
    op.create_index(
        'ix_kb_entries_changed', 'kb_entries', ['section', 'updated_at', 'updated_by', 'kind']
    )
    for name in ('added', 'edited', 'deleted'):
        op.add_column(
            'kb_change_sets', sa.Column(name, sa.Integer(), nullable=False, server_default='0')
        )
    op.add_column(
        'kb_change_sets', sa.Column('number', sa.Integer(), nullable=False, server_default='0')
    )
    op.create_index('ix_kb_change_sets_number', 'kb_change_sets', ['number'])
    op.add_column(
        'kb_changes', sa.Column('kind', sa.String(length=10), nullable=False, server_default='')
    )
    op.create_index('ix_kb_changes_entry_id', 'kb_changes', ['entry_id'])
    op.create_index('ix_kb_changes_action', 'kb_changes', ['action', 'id', 'kind', 'entry_id'])
    bind = op.get_bind()
    _fill_digests(bind)
    _fill_counts(bind)
    bind.execute(
        sa.text('INSERT INTO kb_state (id, revision) VALUES (1, :revision)'),
        {'revision': uuid.uuid4().hex},
    )


def _make_tables() -> None:
    op.create_table('kb_state',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('revision', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_state'))
    )
    op.create_table('kb_releases',
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('author_id', sa.String(length=120), nullable=False),
    sa.Column('author', sa.String(length=120), nullable=False),
    sa.Column('notes', sa.Text(), nullable=False),
    sa.Column('revision', sa.String(length=32), nullable=False),
    sa.Column('digest', sa.String(length=64), nullable=False),
    sa.Column('entries', sa.Integer(), nullable=False),
    sa.Column('added', sa.Integer(), nullable=False),
    sa.Column('edited', sa.Integer(), nullable=False),
    sa.Column('deleted', sa.Integer(), nullable=False),
    sa.Column('document', sa.LargeBinary(), nullable=False),
    sa.Column('members', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_kb_releases'))
    )
    op.create_table('kb_activations',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('release', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('author_id', sa.String(length=120), nullable=False),
    sa.Column('author', sa.String(length=120), nullable=False),
    sa.Column('author_kind', sa.String(length=20), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('relayed', sa.Boolean(), nullable=False),
    sa.Column('written_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('folder', sa.Text(), nullable=True),
    sa.Column('files', sa.JSON(), nullable=True),
    sa.Column('commit_id', sa.String(length=64), nullable=True),
    sa.Column('tag', sa.String(length=120), nullable=True),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['release'], ['kb_releases.number'], name=op.f('fk_kb_activations_release')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_activations')),
    sqlite_autoincrement=True
    )
    op.create_table('kb_slides',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('change_set_id', sa.String(length=32), nullable=False),
    sa.Column('section', sa.String(length=400), nullable=False),
    sa.Column('first', sa.Integer(), nullable=False),
    sa.Column('last', sa.Integer(), nullable=False),
    sa.Column('by', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['change_set_id'], ['kb_change_sets.id'], name=op.f('fk_kb_slides_change_set_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_slides'))
    )
    op.create_index('ix_kb_slides_change_set_id', 'kb_slides', ['change_set_id'])
    op.create_table('kb_published',
    sa.Column('entry_id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('digest', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('entry_id', name=op.f('pk_kb_published'))
    )
    op.create_table('kb_schedules',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('release', sa.Integer(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('author_id', sa.String(length=120), nullable=False),
    sa.Column('author', sa.String(length=120), nullable=False),
    sa.Column('author_kind', sa.String(length=20), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('state', sa.String(length=20), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['release'], ['kb_releases.number'], name=op.f('fk_kb_schedules_release')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_schedules')),
    sqlite_autoincrement=True
    )
    op.create_table('kb_dismissals',
    sa.Column('finding', sa.String(length=64), nullable=False),
    sa.Column('check_name', sa.String(length=40), nullable=False),
    sa.Column('entry_id', sa.Integer(), nullable=False),
    sa.Column('field', sa.String(length=400), nullable=False),
    sa.Column('digest', sa.String(length=32), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('author', sa.String(length=120), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('finding', name=op.f('pk_kb_dismissals'))
    )
    op.create_table('kb_questions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('question', sa.String(length=200), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('author', sa.String(length=120), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kb_questions')),
    sa.UniqueConstraint('question', name=op.f('uq_kb_questions_question')),
    sqlite_autoincrement=True
    )


def _fill_digests(bind: sa.Connection) -> None:
    found = bind.execute(sa.text('SELECT id, section, key, kind, body FROM kb_entries')).all()
    values = [
        {
            'row': row.id,
            'digest': content_digest(row.section, row.key, row.kind, json.loads(row.body)),
            'skeleton': kept_skeleton(row.key),
        }
        for row in found
    ]
    for start in range(0, len(values), _AT_ONCE):
        bind.execute(
            sa.text('UPDATE kb_entries SET digest = :digest, skeleton = :skeleton WHERE id = :row'),
            values[start : start + _AT_ONCE],
        )


def _fill_counts(bind: sa.Connection) -> None:
    counts: dict[str, dict[str, int]] = {}
    kinds: dict[str, list[dict[str, int]]] = {}
    order: dict[str, None] = {}
    names = {'add': 'added', 'edit': 'edited', 'delete': 'deleted'}
    rows = bind.execute(
        sa.text('SELECT id, change_set_id, action, before, after FROM kb_changes ORDER BY id')
    )
    for row_id, change_set, action, before, after in rows:
        told = after if after not in (None, 'null') else before
        facts = json.loads(told) if isinstance(told, str) else told
        kind = facts['kind'] if facts else ''
        kinds.setdefault(kind, []).append({'row': row_id})
        order[change_set] = None
        if kind != 'group':
            own = counts.setdefault(change_set, dict.fromkeys(names.values(), 0))
            own[names[action]] += 1
    for kind, ids in kinds.items():
        for start in range(0, len(ids), _AT_ONCE):
            bind.execute(
                sa.text('UPDATE kb_changes SET kind = :kind WHERE id = :row'),
                [{'kind': kind, **one} for one in ids[start : start + _AT_ONCE]],
            )
    for change_set, own in counts.items():
        bind.execute(
            sa.text(
                'UPDATE kb_change_sets SET added = :added, edited = :edited, deleted = :deleted '
                'WHERE id = :change_set'
            ),
            {**own, 'change_set': change_set},
        )
    _number(bind, list(order))


def _number(bind: sa.Connection, order: list[str]) -> None:
    # By what they wrote; one that wrote nothing stands where its time puts it.
    place = {change_set: number for number, change_set in enumerate(order)}
    last = -1
    found = []
    for (change_set,) in bind.execute(sa.text('SELECT id FROM kb_change_sets ORDER BY at, id')):
        last = place.get(change_set, last)
        found.append((last, change_set not in place, change_set))
    for number, (_place, _empty, change_set) in enumerate(sorted(found), start=1):
        bind.execute(
            sa.text('UPDATE kb_change_sets SET number = :number WHERE id = :change_set'),
            {'number': number, 'change_set': change_set},
        )


def downgrade() -> None:
    """Take it back; the releases are gone then."""
    op.drop_index('ix_kb_changes_action', 'kb_changes')
    op.drop_index('ix_kb_changes_entry_id', 'kb_changes')
    op.execute('ALTER TABLE kb_changes DROP COLUMN kind')
    op.drop_index('ix_kb_change_sets_number', 'kb_change_sets')
    op.execute('ALTER TABLE kb_change_sets DROP COLUMN number')
    for name in ('added', 'edited', 'deleted'):
        op.execute(f'ALTER TABLE kb_change_sets DROP COLUMN {name}')
    op.drop_index('ix_kb_entries_changed', 'kb_entries')
    op.drop_index('ix_kb_entries_order', 'kb_entries')
    op.drop_index('ix_kb_entries_skeleton', 'kb_entries')
    op.execute('ALTER TABLE kb_entries DROP COLUMN digest')
    op.execute('ALTER TABLE kb_entries DROP COLUMN skeleton')
    for name in (
        'kb_questions', 'kb_dismissals', 'kb_schedules', 'kb_slides', 'kb_published',
        'kb_activations', 'kb_releases', 'kb_state',
    ):
        op.drop_table(name)
