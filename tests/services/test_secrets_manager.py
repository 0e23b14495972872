"""Settings from AWS Secrets Manager (a real server that speaks its protocol: moto)."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from services.core import secrets_manager
from services.core.context import open_context
from services.core.errors import EXIT_USAGE, Misconfigured, Transient
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT, Settings
from tests.servers import ACCESS_KEY, SECRET_KEY
from tests.stores.faulty import closed_port

PLANTED = "PLANTEDsigningkey0123456789abcdefghij"


@pytest.fixture
def manager_env(moto_server, monkeypatch) -> str:
    """The environment of a machine that may ask; gives the address."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto_server.endpoint)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return moto_server.endpoint


@pytest.fixture
def secret(manager_env, monkeypatch) -> Callable[..., str]:
    """Store a secret and name it in the environment."""

    def store(value: Any, **how: Any) -> str:
        import boto3

        client = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="eu-central-1").client(
            "secretsmanager", endpoint_url=manager_env
        )
        name = f"insightshop/{secrets.token_hex(6)}"
        text = {"SecretString": value if isinstance(value, str) else json.dumps(value)}
        client.create_secret(Name=name, **(how or text))
        monkeypatch.setenv("AWS_SECRETS_INSIGHTSHOP", name)
        return name

    return store


@pytest.fixture
def read(tmp_path) -> Callable[..., Settings]:
    def now(**overrides: Any) -> Settings:
        return load_settings(env_file=tmp_path / ".env", desk_home=tmp_path / "desk", **overrides)

    return now


def test_a_secret_gives_settings_that_nothing_else_says_anything_of(secret, read):
    secret(
        {
            "BACKUP_SIGNING_KEY": PLANTED,
            "instance_id": "north",
            "KEEP_DAYS": 14,
            "DATABASE_URL": "postgres://shop:pw@db/shop",
            "STRIPE_KEY": "the shop's own",
            "DB_PATH": None,
            "DESK_URL": "",
        }
    )
    settings = read()
    assert settings.backup_signing_key.get_secret_value() == PLANTED
    assert (settings.instance_id, settings.keep_days) == ("north", 14)
    assert settings.shop_database_url == "postgresql+psycopg://shop:pw@db/shop"
    assert settings.db_path is None and settings.desk_url == ""


def test_the_environment_and_the_file_win_over_the_secret_and_an_override_over_all(
    secret, read, tmp_path, monkeypatch
):
    secret({"INSTANCE_ID": "secret", "KEEP_DAYS": 1, "KEEP_WEEKS": 1, "KEEP_MONTHS": 1})
    (tmp_path / ".env").write_text("KEEP_DAYS=5\nINSTANCE_ID=file\n")
    monkeypatch.setenv("KEEP_WEEKS", "6")
    monkeypatch.setenv("INSTANCE_ID", "environment")
    settings = read(keep_months=7)
    assert (settings.keep_days, settings.keep_weeks, settings.keep_months) == (5, 6, 7)
    assert settings.instance_id == "environment"
    monkeypatch.setenv("KEEP_WEEKS", "")  # set to nothing is not set
    assert read().keep_weeks == 1


def test_the_file_may_name_the_secret_and_hold_the_credentials(secret, read, tmp_path, monkeypatch):
    name = secret({"INSTANCE_ID": "north"})
    lines = [f"AWS_SECRETS_INSIGHTSHOP={name}"]
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        lines.append(f"{variable}={os.environ[variable]}")
        monkeypatch.delenv(variable)
    monkeypatch.delenv("AWS_SECRETS_INSIGHTSHOP")
    (tmp_path / ".env").write_text("\n".join(lines))
    assert read().instance_id == "north"


def test_a_secret_can_move_neither_the_desks_home_nor_itself(secret, read, tmp_path):
    secret({"DESK_HOME": "/elsewhere", "AWS_SECRETS_INSIGHTSHOP": "another"})
    settings = load_settings(env_file=tmp_path / ".env")
    assert settings.desk_home == PROJECT_ROOT
    assert settings.aws_secrets_insightshop.startswith("insightshop/")


@pytest.mark.parametrize(
    ("value", "how", "said"),
    [
        ("no json", {}, "is no JSON object"),
        ("[1, 2]", {}, "is no JSON object"),
        ("[" * 100_000, {}, "is no JSON object"),
        ({"BACKUP_SIGNING_KEY": [PLANTED]}, {}, "a list or an object in BACKUP_SIGNING_KEY"),
        ({"keep_days": {"a": PLANTED}}, {}, "a list or an object in KEEP_DAYS"),
        ({"KEEP_DAYS": PLANTED}, {}, r"KEEP_DAYS holds \*\*\*"),
        ({"INSTANCE_ID": f"{PLANTED}!"}, {}, r"INSTANCE_ID holds \*\*\*"),
        ({}, {"SecretBinary": PLANTED.encode()}, "is binary"),
    ],
)
def test_a_secret_that_cant_be_used_is_named_and_never_shown(
    secret, read, caplog, value, how, said
):
    caplog.set_level(logging.DEBUG)
    secret(value, **how)
    caplog.clear()
    with pytest.raises(Misconfigured, match=said) as refused:
        read()
    assert refused.value.hint
    assert PLANTED not in str(refused.value) + repr(refused.value.__cause__) + caplog.text


def test_a_secret_that_is_not_there_is_named_as_missing(manager_env, read, monkeypatch):
    monkeypatch.setenv("AWS_SECRETS_INSIGHTSHOP", "nowhere")
    with pytest.raises(Misconfigured, match="There is no secret nowhere"):
        read()


def test_a_server_that_does_not_answer_is_told_from_a_wrong_setting(read, monkeypatch):
    monkeypatch.setenv("AWS_SECRETS_INSIGHTSHOP", "some")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", closed_port().endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x" * 16)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 16)
    with pytest.raises(Misconfigured, match="can't be asked for as things are set"):
        read()  # no region
    with pytest.raises(Transient, match="did not answer"):
        read(aws_region="eu-central-1")


@pytest.mark.parametrize(
    ("code", "status", "kind", "said"),
    [
        ("AccessDeniedException", 400, Misconfigured, "may not read the secret"),
        ("UnrecognizedClientException", 400, Misconfigured, "may not read the secret"),
        ("DecryptionFailure", 400, Misconfigured, "can't be read"),
        ("InternalServiceError", 500, Transient, "could not give"),
        ("ThrottlingException", 400, Transient, "could not give"),
    ],
)
def test_what_the_server_refuses_is_said_in_words(code, status, kind, said):
    """moto allows everybody everything, so these answers are made by hand."""
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = secrets_manager._answered("shop", ClientError(answer, "GetSecretValue"))
    assert isinstance(error, kind) and said in error.message and error.hint


def test_a_child_gets_the_settings_without_asking_again_and_nothing_shows_the_secret(
    secret, read, caplog
):
    caplog.set_level(logging.DEBUG)
    secret({"BACKUP_SIGNING_KEY": PLANTED, "KEEP_DAYS": 3, "INSTANCE_ID": "north"})
    caplog.clear()  # making it is the test's own doing
    settings = read()
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from services.core.loading import load_settings; s = load_settings();"
            "assert 'boto3' not in sys.modules, 'it asked again';"
            "print(s.keep_days, s.instance_id, len(s.backup_signing_key.get_secret_value()))",
        ],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            **settings.as_environment(),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": closed_port().endpoint,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.split() == ["3", "north", str(len(PLANTED))]
    assert PLANTED not in repr(settings) + caplog.text + child.stderr


def test_the_library_may_log_all_it_likes_afterwards_but_not_the_answer(secret, read, caplog):
    secret({"BACKUP_SIGNING_KEY": PLANTED})
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    try:
        read()
        assert logging.getLogger("botocore").level == logging.DEBUG
    finally:
        logging.getLogger("botocore").setLevel(logging.NOTSET)
    assert PLANTED not in caplog.text


def test_a_door_says_what_is_wrong_with_the_secret_and_ends_as_misconfigured(
    manager_env, tmp_path, monkeypatch
):
    done = subprocess.run(
        [sys.executable, "services/backup.py", "--json"],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "DESK_HOME": str(tmp_path),
            "AWS_SECRETS_INSIGHTSHOP": "nowhere",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == EXIT_USAGE
    assert "There is no secret nowhere" in json.loads(done.stdout.splitlines()[-1])["error"]


def test_a_signing_key_from_a_secret_signs(secret, read, tmp_path):
    from services.protection.sealing.keys import keys_of

    secret({"BACKUP_SIGNING_KEY": f"{PLANTED},{'b' * 40}"})
    context = open_context(read())
    try:
        assert keys_of(context.settings).signing == (PLANTED.encode(), b"b" * 40)
    finally:
        context.close()
