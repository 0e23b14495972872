"""The doctor: what it finds, the keys it makes, and what it never shows or replaces."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from services import doctor
from services.core.context import Context, open_context
from services.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NETWORK,
    EXIT_USAGE,
    Misconfigured,
    Refused,
)
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.protection import checkup
from services.protection.checkup import State, wal_reset_bug
from services.protection.sealing import keymaking
from services.protection.sealing.keys import identities, keys_of, matches
from services.protection.sources import pg_tools
from tests.services.test_encryption import made, with_settings
from tests.services.test_signing import NEW, path_of
from tests.stores.faulty import closed_port

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def found(ctx: Context) -> dict[str, checkup.Finding]:
    return {finding.name: finding for finding in checkup.check(ctx)}


def run(ctx: Context, *arguments: str) -> tuple[int, dict, str, str]:
    done = subprocess.run(
        [sys.executable, "services/doctor.py", *arguments, "--json"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        capture_output=True,
        text=True,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stdout, done.stderr


# check


def test_a_whole_installation_is_found_to_be_one(ctx, shop, admin):
    public = pyrage.x25519.Identity.generate()
    file = ctx.settings.desk_home / "identity.txt"
    keymaking.write_secret(file, f"{public}\n")
    desk = with_settings(
        ctx,
        backup_age_recipients=str(public.to_public()),
        backup_age_identity_file=file,
        backup_signing_key=NEW,
    )
    findings = {each.name: each for each in doctor.check(desk, admin)}
    assert {each for each in findings if findings[each].state is State.FAILED} == set()
    assert "opens them" in findings["encryption"].said
    assert findings["signatures"].state is State.OK and NEW not in findings["signatures"].said
    assert findings["clock"].state is State.OK
    assert checkup.worst(tuple(findings.values())) == EXIT_DONE


def test_every_thing_that_is_wrong_is_found_in_one_go(ctx, tmp_path):
    """The shop is missing, the store is no folder, the identity is of another pair."""
    file = tmp_path / "identity.txt"
    file.write_text(str(pyrage.x25519.Identity.generate()))
    desk = with_settings(
        ctx,
        backup_store_url=f"file:{tmp_path / 'unplugged'}",
        backup_age_recipients=str(pyrage.x25519.Identity.generate().to_public()),
        backup_age_identity_file=file,
    )
    findings = found(desk)
    failed = {name for name, finding in findings.items() if finding.state is State.FAILED}
    assert failed == {"shop database", "store", "keys"}
    assert "of one pair" in findings["keys"].hint
    assert all(findings[name].hint for name in failed)
    assert checkup.worst(tuple(findings.values())) == EXIT_USAGE


@pytest.mark.parametrize(
    ("changed", "name", "state", "said"),
    [
        ({}, "encryption", State.WARNING, "not encrypted"),
        ({}, "signatures", State.WARNING, "not signed"),
        ({"backup_signing_key": "short"}, "keys", State.FAILED, "fewer than 32"),
        ({"backup_age_recipients": "age1x"}, "keys", State.FAILED, "no age recipient"),
        (
            {"backup_age_identity_file": "/nowhere"},
            "keys",
            State.FAILED,
            "can't be read",
        ),
    ],
)
def test_what_the_keys_and_stores_are_is_said(ctx, shop, changed, name, state, said):
    finding = found(with_settings(ctx, **changed))[name]
    assert (finding.state, said in finding.said) == (state, True)


def test_of_the_second_store_its_own_setting_is_named(ctx, shop):
    finding = found(with_settings(ctx, backup_copy_url="file:/nowhere"))["second store"]
    assert finding.state is State.FAILED and "no backup folder" in finding.said
    assert "BACKUP_COPY_URL" in finding.hint and "BACKUP_STORE_URL" not in finding.hint


def test_an_identity_that_others_can_read_is_told(ctx, shop, tmp_path):
    pair = pyrage.x25519.Identity.generate()
    file = tmp_path / "identity.txt"
    file.write_text(str(pair))
    file.chmod(0o644)
    desk = with_settings(
        ctx, backup_age_recipients=str(pair.to_public()), backup_age_identity_file=file
    )
    finding = found(desk)["encryption"]
    assert finding.state is State.WARNING and finding.hint == f"chmod 600 {file}"


def test_a_machine_with_recipients_alone_is_as_it_should_be(ctx, shop):
    public = str(pyrage.x25519.Identity.generate().to_public())
    finding = found(with_settings(ctx, backup_age_recipients=public))["encryption"]
    assert finding.state is State.OK and "can make but not read them" in finding.said


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_the_versions_of_sqlite_with_the_wal_reset_bug_are_known(version, affected):
    assert wal_reset_bug(version) is affected


def test_the_command_ends_with_the_code_of_what_failed(ctx, shop):
    code, answer, _out, errors = run(ctx, "check")
    assert (code, answer["state"], answer["exit_code"]) == (EXIT_DONE, "succeeded", EXIT_DONE)
    assert {each["state"] for each in answer["findings"]} <= {"ok", "warning"} and not errors
    silent = with_settings(
        ctx,
        backup_store_url="s3://some-bucket",
        aws_endpoint_url_s3=closed_port().endpoint,
        aws_access_key_id="K" * 10,
        aws_secret_access_key="PLANTEDSECRETKEY",
        aws_region="us-east-1",
    )
    code, answer, out, errors = run(silent, "check")
    assert (code, answer["state"]) == (EXIT_NETWORK, "failed")
    assert "PLANTEDSECRETKEY" not in out + errors


def test_a_wrong_setting_is_said_in_words_by_every_command(ctx, tmp_path):
    environment = {**os.environ, "DESK_HOME": str(tmp_path), "KEEP_DAYS": "many"}
    for command in (["check"], ["keys"], ["sign", "--all"]):
        done = subprocess.run(
            [sys.executable, "services/doctor.py", *command, "--json"],
            cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        answer = json.loads(done.stdout.splitlines()[-1])
        assert done.returncode == answer["exit_code"] == EXIT_USAGE
        assert "KEEP_DAYS" in answer["error"] and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["cure"], ["sign"], ["check", "--fast"], ["--json"]])
def test_a_wrong_command_is_a_matter_of_usage(arguments, capsys):
    assert doctor.main(arguments) == EXIT_USAGE
    assert "usage:" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    assert doctor.main(["--help"]) == EXIT_DONE
    text = capsys.readouterr().out
    assert all(word in text for word in ("check", "keys", "sign", "Exit codes"))


# keys


@pytest.mark.parametrize("recovery", [False, True])
def test_keys_are_made_for_their_owner_alone_and_open_what_is_encrypted(
    settings, tmp_path, recovery
):
    folder = tmp_path / "deep" / "keys"
    mask = os.umask(0)
    try:
        done = keymaking.make_keys(settings, folder, NOW, recovery=recovery)
    finally:
        os.umask(mask)
    files = {path.name: path for path in folder.iterdir()}
    assert files.keys() == {"identity.txt", "recovery-sheet.html"} | (
        {"recovery-identity.txt"} if recovery else set()
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    desk = load_settings(
        env_file=tmp_path / "none",
        desk_home=tmp_path,
        backup_age_recipients=done.recipients,
        backup_age_identity_file=files["identity.txt"],
    )
    assert len(keys_of(desk).recipients) == 1 + recovery and matches(keys_of(desk))
    sealed = tmp_path / "sealed"
    for name in files.keys() - {"recovery-sheet.html"}:
        whom = [part for each in done.recipients.split(",") for part in ("-r", each)]
        subprocess.run(["age", *whom, "-o", sealed], input=b"the shop", check=True)
        opened = subprocess.run(
            ["age", "-d", "-i", files[name], sealed], check=True, capture_output=True
        )
        assert opened.stdout == b"the shop"


def test_the_sheet_carries_the_recovery_key_and_not_the_operators(settings, tmp_path):
    done = keymaking.make_keys(settings, tmp_path / "keys", NOW, recovery=True)
    sheet = done.sheet.read_text()
    operator, recovery = (str(identities(pair.file)[0]) for pair in (done.operator, done.recovery))
    assert recovery in sheet and operator not in sheet
    assert done.recovery.recipient in sheet
    assert recovery not in repr(done) and operator not in repr(done)


def test_what_is_typed_off_the_sheet_is_the_key_and_its_checksum_tells(settings, tmp_path):
    sheet = keymaking.make_keys(settings, tmp_path / "keys", NOW, recovery=False).sheet.read_text()
    groups = re.findall(r"<td>([0-9A-Z]*)</td>", sheet)
    typed = "AGE-SECRET-KEY-1" + "".join(groups)
    assert not set("".join(groups)) & set("1BIO"), "what the sheet says of the letters"
    (tmp_path / "identity.txt").write_text(f"{typed}\n")
    [command] = re.findall(r"^(tr -d .*)</pre>$", sheet, re.MULTILINE)
    answer = subprocess.run(
        command.replace("&lt;", "<"), shell=True, cwd=tmp_path, capture_output=True, text=True
    ).stdout.strip()
    shown = re.search(r"It has to answer <b><code>([0-9a-f ]+)</code>", sheet)[1]
    assert answer == shown.replace(" ", "") and len(answer) == 16
    assert str(identities(tmp_path / "identity.txt")[0]) == typed


def test_the_sheet_needs_nothing_from_elsewhere_and_shows_no_secret_of_the_store(tmp_path):
    settings = load_settings(
        env_file=tmp_path / "none",
        desk_home=tmp_path,
        instance_id="north-2",
        backup_store_url="s3://bucket/<b>&'x",
        aws_endpoint_url_s3="https://me:PLANTED@store.example.org",
        aws_secret_access_key="PLANTED",
        aws_access_key_id="PLANTEDID",
    )
    sheet = keymaking.make_keys(settings, tmp_path / "keys", NOW, recovery=False).sheet.read_text()
    assert "PLANTED" not in sheet and "<b>&'x" not in sheet
    assert "s3://bucket/&lt;b&gt;&amp;&#x27;x" in sheet
    assert not re.search(r"<script|<img|<link|src=|url\(|@import|https?://(?!me)", sheet)
    assert "--fresh --instance north-2" in sheet and "22 November 2026" in sheet


def test_no_key_is_ever_replaced_and_nothing_is_half_made(settings, tmp_path):
    folder = tmp_path / "keys"
    keymaking.make_keys(settings, folder, NOW, recovery=True)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in before:
        for other in before.keys() - {name}:
            (folder / other).unlink()
        with pytest.raises(Refused, match=re.escape(name)):
            keymaking.make_keys(settings, folder, NOW, recovery=True)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: before[name]}
        for other in before:
            (folder / other).write_bytes(before[other])
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "identity.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        keymaking.make_keys(settings, tmp_path / "link", NOW, recovery=False)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_can_not_be_made_is_named(settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="no keys were made"):
        keymaking.make_keys(settings, tmp_path / "file" / "keys", NOW, recovery=False)


def test_making_that_fails_on_the_way_leaves_no_key_behind(settings, tmp_path, monkeypatch):
    real = keymaking.write_secret

    def full(target: Path, text: str) -> None:
        if target.name == keymaking.SHEET:
            raise Refused("the disk is full")
        real(target, text)

    monkeypatch.setattr(keymaking, "write_secret", full)
    with pytest.raises(Refused):
        keymaking.make_keys(settings, tmp_path / "keys", NOW, recovery=True)
    assert not list((tmp_path / "keys").iterdir())


def test_the_command_prints_what_to_set_and_never_a_secret(ctx, tmp_path):
    folder = tmp_path / "keys"
    code, answer, out, errors = run(ctx, "keys", "--out", str(folder), "--recovery")
    assert code == EXIT_DONE and answer["state"] == "succeeded"
    assert answer["recipients"].count("age1") == 2 and len(answer["files"]) == 3
    assert "SECRET-KEY" not in out + errors
    code, answer, out, errors = run(ctx, "keys", "--out", str(folder))
    assert code == EXIT_FAILED and "already" in answer["error"]
    plain = subprocess.run(
        [sys.executable, "services/doctor.py", "keys"],
        cwd=PROJECT_ROOT, env={**os.environ, **ctx.settings.as_environment()},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "BACKUP_AGE_RECIPIENTS=age1" in plain.stdout and "SECRET-KEY" not in plain.stdout
    assert (ctx.settings.instance_dir / "keys" / "identity.txt").is_file()


# sign


def test_the_command_signs_and_tells_what_it_refused(ctx, shop, operator):
    first, second = made(ctx, operator), made(ctx, operator)
    desk = with_settings(ctx, backup_signing_key=NEW)
    code, answer, out, errors = run(desk, "sign", first.id)
    assert (code, answer["signed"]) == (EXIT_DONE, [first.id])
    path_of(ctx, second.id).write_bytes(b"{}")
    code, answer, out, errors = run(desk, "sign", "--all")
    assert code == EXIT_FAILED and answer["already"] == [first.id]
    assert answer["refused"].keys() == {second.id} and second.id in errors
    assert NEW not in out + errors
    code, answer, _out, _errors = run(desk, "sign", "20260101T000000Z-none")
    assert code == EXIT_FAILED and "There is no snapshot" in answer["error"]
    code, answer, _out, _errors = run(ctx, "sign", "--all")
    assert code == EXIT_USAGE and "BACKUP_SIGNING_KEY" in answer["error"]


def test_databases_on_a_server_need_programs_that_fit_it(postgres_server, tmp_path, monkeypatch):
    ctx = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "desk",
            database_url=postgres_server.make_shop(),
            control_database_url=postgres_server.make_database(),
            **postgres_server.tools_setting(),
        )
    )
    try:
        findings = found(ctx)
        assert findings["dump tools"].state is State.OK
        before = pg_tools.installed
        monkeypatch.setattr(pg_tools, "installed", lambda _folders: [])
        missing = [each for each in checkup.check(ctx) if each.name == "dump tools"]
        # Each database is looked at, also where the one before has none that fit.
        assert [each.state for each in missing] == [State.FAILED, State.FAILED]
        assert f"version {postgres_server.version} fit it" in missing[1].said
        monkeypatch.setattr(pg_tools, "installed", before)
        assert findings["shop database"].state is findings["control database"].state is State.OK
        assert "the desk's own is in it" not in findings["sqlite"].said
    finally:
        ctx.close()
