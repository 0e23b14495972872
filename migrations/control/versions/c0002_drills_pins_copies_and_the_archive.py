"""Drills, pins, copies and the archive"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = 'c0002'
down_revision = 'c0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was called verified was read back; verified now means restored and compared."""
    with op.batch_alter_table('snapshots', schema=None) as batch_op:
        batch_op.alter_column(
            'verified_at', new_column_name='read_back_at',
            existing_type=sa.DateTime(timezone=True), existing_nullable=True,
        )
    with op.batch_alter_table('snapshots', schema=None) as batch_op:
        batch_op.add_column(sa.Column('verified_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('drill_seconds', sa.Float(), nullable=True))
        batch_op.add_column(
            sa.Column('signed', sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(
            sa.Column('encrypted', sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(sa.Column('pin', sa.JSON(), nullable=True))
        batch_op.add_column(
            sa.Column('storage', sa.String(length=20), nullable=False, server_default='standard')
        )
        batch_op.add_column(sa.Column('copied_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column('copy_error', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('unmatched', sa.JSON(), nullable=True))
    # None of the version before is encrypted; those are from a desk that went back to it.
    op.execute(
        "UPDATE snapshots SET encrypted = true WHERE CAST(components AS TEXT) LIKE '%.age\"%'"
    )
    with op.batch_alter_table('snapshots', schema=None) as batch_op:
        batch_op.create_index(
            'ix_snapshots_instance_newest', ['instance', 'created_at', 'id'], unique=False
        )
    op.create_table('drills',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('snapshot_id', sa.String(length=40), nullable=False),
    sa.Column('instance', sa.String(length=64), nullable=False),
    sa.Column('place', sa.String(length=20), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seconds', sa.Float(), nullable=False),
    sa.Column('passed', sa.Boolean(), nullable=False),
    sa.Column('host', sa.String(length=120), nullable=False),
    sa.Column('asked_by', sa.String(length=120), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('evidence', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_drills'))
    )
    with op.batch_alter_table('drills', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_drills_snapshot_id'), ['snapshot_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_drills_at'), ['at'], unique=False)

    op.create_table('stored_pictures',
    sa.Column('instance', sa.String(length=64), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('key', sa.String(length=200), nullable=False),
    sa.Column('plain_bytes', sa.BigInteger(), nullable=False),
    sa.Column('stored_bytes', sa.BigInteger(), nullable=False),
    sa.Column('stored_sha256', sa.String(length=64), nullable=False),
    sa.Column('encryption', sa.String(length=20), nullable=False),
    sa.PrimaryKeyConstraint('instance', 'sha256', name=op.f('pk_stored_pictures'))
    )
    op.create_table('retrievals',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('snapshot_id', sa.String(length=40), nullable=False),
    sa.Column('instance', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=20), nullable=False),
    sa.Column('tier', sa.String(length=20), nullable=False),
    sa.Column('days', sa.Integer(), nullable=False),
    sa.Column('asked_by', sa.String(length=120), nullable=False),
    sa.Column('asked_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('looked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ready_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ready_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('objects', sa.Integer(), nullable=False),
    sa.Column('objects_ready', sa.Integer(), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_retrievals'))
    )
    with op.batch_alter_table('retrievals', schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f('ix_retrievals_snapshot_id'), ['snapshot_id'], unique=False
        )

    op.create_table('alerts',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('instance', sa.String(length=64), nullable=False),
    sa.Column('rule', sa.String(length=60), nullable=False),
    sa.Column('subject', sa.String(length=200), nullable=False),
    sa.Column('state', sa.String(length=20), nullable=False),
    sa.Column('severity', sa.String(length=20), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('hint', sa.Text(), nullable=False),
    sa.Column('since', sa.DateTime(timezone=True), nullable=False),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('fired_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('resolved_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_by', sa.String(length=120), nullable=True),
    sa.Column('comment', sa.Text(), nullable=True),
    sa.Column('muted_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('muted_by', sa.String(length=120), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts'))
    )
    still_open = sa.text("state IN ('pending', 'firing')")
    with op.batch_alter_table('alerts', schema=None) as batch_op:
        batch_op.create_index(
            'uq_alerts_open', ['instance', 'rule', 'subject'], unique=True,
            sqlite_where=still_open, postgresql_where=still_open,
        )
        batch_op.create_index(
            'ix_alerts_instance_opened', ['instance', 'opened_at'], unique=False
        )

    op.create_table('alert_changes',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('alert_id', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('what', sa.String(length=20), nullable=False),
    sa.Column('who', sa.String(length=120), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('delivery', sa.String(length=20), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_try_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('reached', sa.JSON(), nullable=False),
    sa.Column('delivered_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('delivery_error', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(
        ['alert_id'], ['alerts.id'], name=op.f('fk_alert_changes_alert_id_alerts')
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alert_changes'))
    )
    with op.batch_alter_table('alert_changes', schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f('ix_alert_changes_alert_id'), ['alert_id'], unique=False
        )
        batch_op.create_index(
            batch_op.f('ix_alert_changes_delivery'), ['delivery'], unique=False
        )


def downgrade() -> None:
    """What was read back is called verified again; drills, pins and copies lie in the stores,
    and are found there after the next upgrade."""
    op.drop_table('alert_changes')
    op.drop_table('alerts')
    with op.batch_alter_table('retrievals', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_retrievals_snapshot_id'))
    op.drop_table('retrievals')
    op.drop_table('stored_pictures')
    with op.batch_alter_table('drills', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_drills_at'))
        batch_op.drop_index(batch_op.f('ix_drills_snapshot_id'))
    op.drop_table('drills')
    with op.batch_alter_table('snapshots', schema=None) as batch_op:
        batch_op.drop_index('ix_snapshots_instance_newest')
    with op.batch_alter_table('snapshots', schema=None) as batch_op:
        for name in (
            'unmatched', 'copy_error', 'copied_at', 'storage', 'pin', 'encrypted', 'signed',
            'drill_seconds', 'verified_at',
        ):
            batch_op.drop_column(name)
    with op.batch_alter_table('snapshots', schema=None) as batch_op:
        batch_op.alter_column(
            'read_back_at', new_column_name='verified_at',
            existing_type=sa.DateTime(timezone=True), existing_nullable=True,
        )
