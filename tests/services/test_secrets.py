"""No secret that the desk knows ever lies in what it writes down or prints."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services import backup
from services.core import audit, jobs
from services.core.context import Context
from services.core.errors import DeskError, Refused
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.people import accounts, passwords, setup, sign_in
from tests.stores.faulty import closed_port

SETUP_CODE = "PLANTED-SETUP-CODE-8f3a"
PASSWORD = "seven planted ducks swim"
GUESS = "planted guess of a stranger"
PLANTED = {
    "DATABASE_URL": "postgresql://shop:PLANTEDdbpassword@127.0.0.1:9/shop?sslpassword=PLANTEDssl",
    "AWS_ACCESS_KEY_ID": "PLANTEDACCESSKEY",
    "AWS_SECRET_ACCESS_KEY": "PLANTEDSECRETACCESSKEY",
    "AWS_SESSION_TOKEN": "PLANTEDSESSIONTOKEN",
    "DESK_SETUP_CODE": SETUP_CODE,
    "DESK_SECRET_KEY": "PLANTEDsecretkey0123456789abcdefgh",
}


def needles() -> set[str]:
    """What must be found nowhere; the id of a key is said where it helps, never the rest."""
    secrets = set(PLANTED.values()) - {PLANTED["DATABASE_URL"], PLANTED["AWS_ACCESS_KEY_ID"]}
    return secrets | {"PLANTEDdbpassword", "PLANTEDssl", PASSWORD, GUESS}


def written(ctx: Context) -> dict[str, bytes]:
    """Every file of the desk's own: control database, job logs, whatever it left."""
    return {
        path.relative_to(ctx.settings.desk_home).as_posix(): path.read_bytes()
        for path in ctx.settings.desk_home.rglob("*")
        if path.is_file()
    }


def assert_nowhere(ctx: Context, *texts: str) -> None:
    with ctx.control.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    places = written(ctx) | {f"text {n}": text.encode() for n, text in enumerate(texts)}
    found = {
        (name, secret)
        for name, content in places.items()
        for secret in needles()
        if secret.encode() in content
    }
    assert not found


@pytest.fixture
def planted(ctx, shop, tmp_path) -> Context:
    """The desk with a secret in every setting that can hold one, and a store that fails."""
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=ctx.settings.desk_home,
        shop_root=ctx.settings.shop_root,
        backup_store_url="s3://some-bucket",
        aws_endpoint_url_s3=closed_port().endpoint,
        aws_region="us-east-1",
        **{name.lower(): value for name, value in PLANTED.items() if name != "DATABASE_URL"},
    )
    return replace(ctx, settings=settings)


def test_a_failing_backup_leaves_no_secret_in_files_rows_output_or_log(planted, operator, admin):
    with pytest.raises(DeskError) as failed:
        backup.run(planted, operator)
    job = jobs.recent(planted, ("backup",))[0]
    # As much log as LOG_LEVEL can ask for.
    talkative = (
        "import sys; from services.core import logs; logs.configure('DEBUG');"
        "from services.backup import main; sys.exit(main(['--json']))"
    )
    headless = subprocess.run(
        [sys.executable, "-c", talkative],
        cwd=PROJECT_ROOT,
        env={**os.environ, **planted.settings.as_environment()},
        capture_output=True,
        text=True,
    )
    assert headless.returncode == 2
    page = backup.snapshots(planted, operator)
    assert page.store_error is not None
    log = audit.export_csv(planted, admin, audit.AuditFilter())
    assert "backup.failed" in log
    assert_nowhere(
        planted, str(failed.value), repr(job), headless.stdout, headless.stderr,
        repr(page), log, repr(planted.settings),
    )  # fmt: skip


def test_a_backup_in_a_process_of_its_own_leaves_none_either(planted, operator):
    job = backup.start(planted, operator)
    for _ in range(600):
        if jobs.get(planted, job.id).state.ended:
            break
        time.sleep(0.05)
    assert jobs.get(planted, job.id).state is jobs.JobState.FAILED
    assert any(name.startswith("instance/jobs/") for name in written(planted))
    assert_nowhere(planted, repr(jobs.get(planted, job.id)))


def test_a_server_database_is_named_without_its_password(planted, operator, caplog):
    settings = planted.settings
    desk = replace(
        planted,
        settings=load_settings(
            env_file=Path("none.env"),
            desk_home=settings.desk_home,
            database_url=PLANTED["DATABASE_URL"],
        ),
    )
    with pytest.raises(DeskError) as failed:
        backup.run(desk, operator)
    assert_nowhere(planted, str(failed.value), repr(desk.settings), caplog.text)


def test_what_people_type_is_kept_by_nobody(planted, admin, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(passwords, "COST", 4)
    assert setup.setup_code(planted) == SETUP_CODE
    said = []
    with pytest.raises(Refused) as refused:
        accounts.create_first(planted, GUESS, "otto", "Otto", PASSWORD)
    said.append(str(refused.value))
    otto = accounts.create_first(planted, SETUP_CODE, "otto", "Otto", PASSWORD)
    signed = sign_in.sign_in(planted, "otto", PASSWORD)
    with pytest.raises(Refused) as refused:
        sign_in.sign_in(planted, "otto", GUESS)
    said.append(str(refused.value))
    _ida, secret = accounts.create(planted, accounts.actor_of(otto), "ida", "Ida", "operator")
    said += [repr(otto), audit.export_csv(planted, admin, audit.AuditFilter()), caplog.text]
    assert_nowhere(planted, *said)
    everything = b"".join(written(planted).values())
    assert secret.encode() not in everything, "a one-time secret is shown once and kept nowhere"
    assert signed.token.encode() not in everything, "a sign-in is kept as its hash alone"
