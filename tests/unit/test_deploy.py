"""The files in docs/deploy run what is there, with options that exist."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

from services import backup, drill, publish, store
from services.core.settings import PROJECT_ROOT
from services.protection.stores.base import OUR_FOLDERS

DEPLOY = PROJECT_ROOT / "docs" / "deploy"
UNITS = sorted(path for path in DEPLOY.iterdir() if path.suffix in (".service", ".timer"))


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.read_string(path.read_text("utf-8"))
    return parser


def test_every_program_that_the_files_start_exists():
    text = "\n".join(path.read_text("utf-8") for path in DEPLOY.iterdir())
    programs = set(re.findall(r"services/\w+\.py", text))
    programs |= {
        f"{name.replace('.', '/')}.py" for name in re.findall(r"-m (services[.\w]+)", text)
    }
    assert {"services/backup.py", "services/monitor.py", "services/desk.py"} <= programs
    assert [name for name in sorted(programs) if not (PROJECT_ROOT / name).is_file()] == []


def test_the_backup_unit_and_the_crontab_call_the_door_as_it_is():
    calls = [unit(DEPLOY / "insightshop-backup.service")["Service"]["execstart"]]
    calls += [line for line in (DEPLOY / "crontab").read_text().splitlines() if "backup.py" in line]
    assert len(calls) == 2
    for call in calls:
        options = call.split("services/backup.py")[1].split()
        backup._parser().parse_args(options)


def test_the_drill_unit_and_the_crontab_call_the_door_as_it_is():
    calls = [unit(DEPLOY / "insightshop-drill.service")["Service"]["execstart"]]
    calls += [line for line in (DEPLOY / "crontab").read_text().splitlines() if "drill.py" in line]
    places = []
    for call in calls:
        options = drill._parser().parse_args(call.split("services/drill.py")[1].split())
        assert options.oldest_unproven and not options.snapshot
        places.append(options.place)
    assert places == ["store", "store", "copy"]


def test_the_crontab_looks_after_the_archive_with_the_door_as_it_is():
    lines = (DEPLOY / "crontab").read_text().splitlines()
    (call,) = [line for line in lines if "services/store.py" in line and line[0].isdigit()]
    options = store._parser().parse_args(call.split("services/store.py")[1].split())
    assert options.command == "poll"


def test_the_publish_unit_and_the_crontab_call_the_door_as_it_is():
    calls = [unit(DEPLOY / "insightshop-publish.service")["Service"]["execstart"]]
    lines = (DEPLOY / "crontab").read_text().splitlines()
    calls += [line for line in lines if "publish.py" in line]
    assert len(calls) == 2
    for call in calls:
        assert publish._parser().parse_args(call.split("services/publish.py")[1].split()).due


def test_every_timer_has_its_service_and_every_page_of_the_readme_its_file():
    for path in UNITS:
        if path.suffix == ".timer":
            assert path.with_suffix(".service").is_file()
    readme = (DEPLOY / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(([\w.-]+)\)", readme))
    assert linked == {path.name for path in DEPLOY.iterdir()} - {"README.md"}


def test_stopping_the_web_server_leaves_jobs_running():
    assert unit(DEPLOY / "insightshop-desk.service")["Service"]["killmode"] == "process"


def test_the_bucket_policy_allows_just_the_folders_that_the_desk_writes():
    statements = json.loads((DEPLOY / "s3-policy.json").read_text())["Statement"]
    objects = next(each["Resource"] for each in statements if isinstance(each["Resource"], list))
    assert {name.removeprefix("arn:aws:s3:::BUCKET/PREFIX/") for name in objects} == {
        f"{folder}*" for folder in OUR_FOLDERS
    }


def test_the_daily_policy_can_change_nothing_about_the_bucket_and_asks_for_archives_of_data_only():
    statements = json.loads((DEPLOY / "s3-policy.json").read_text())["Statement"]
    on_bucket = next(each for each in statements if each["Resource"] == "arn:aws:s3:::BUCKET")
    assert all(action.startswith(("s3:List", "s3:Get")) for action in on_bucket["Action"])
    restore = next(each for each in statements if each["Action"] == "s3:RestoreObject")
    assert restore["Resource"] == "arn:aws:s3:::BUCKET/PREFIX/data/*"
    once = json.loads((DEPLOY / "s3-policy-prepare.json").read_text())["Statement"]
    assert all(action.startswith("s3:Put") for each in once for action in each["Action"])


def test_the_container_holds_every_part_of_the_program():
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.+)$", text, re.M) for word in line.split()[:-1]}
    parts = {"app.py", "server.py", ".streamlit", "db", "migrations", "pages", "services", "ui"}
    assert copied == parts | {"requirements.lock"}
    assert all((PROJECT_ROOT / part).exists() for part in copied)
