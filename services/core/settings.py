"""Every setting, read once into one frozen object.

The environment comes first, then `.env` in the project's folder, then the secret that
`AWS_SECRETS_INSIGHTSHOP` names. Names that the shop knows too keep its meaning, so the
shop's own `.env` works unchanged.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.engine import sqlite_file, sqlite_url
from services.core.addresses import (
    addresses,
    are_addresses,
    is_database_url,
    is_web_address,
    normalise_database_url,
)
from services.core.addresses import mask_url as mask_url

PROJECT_ROOT = Path(__file__).resolve().parents[2]
ALREADY_READ = "DESK_SECRET_WAS_READ"
"""Names the secret whose values a process was given by the one that started it."""
_STORE_IS_NAMED = "DESK_STORE_IS_NAMED"
_INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class Settings(BaseSettings):
    """The desk's settings. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(
        env_file=None,
        extra="ignore",
        frozen=True,
        case_sensitive=False,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    app_env: Literal["development", "staging", "production"] = Field(
        "development", description="Shown on every page; `production` refuses weak secrets."
    )
    desk_home: Path = Field(
        PROJECT_ROOT,
        description="Where the desk's own relative paths start (its `instance/` and `.env`).",
    )
    shop_root: Path | None = Field(
        None, description="Where the shop's relative paths start; `$DESK_HOME` by default."
    )
    database_url: SecretStr | None = Field(
        None, description="The shop's database as a URL; wins over `DB_PATH`."
    )
    db_path: str | None = Field(
        None,
        description="The shop's SQLite file, `insightshop.db` by default; "
        "a relative path lies in `$SHOP_ROOT/instance/`.",
    )
    postgres_tools: str | None = Field(
        None,
        description="Folders (separated as in PATH) with `pg_dump` and `pg_restore` of the "
        "server's own major version, when they are in none of the usual places.",
    )
    drill_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL server on which drills restore dumps aside; by default the one "
        "that the database was backed up from.",
    )
    vector_db_path: str = Field(
        "vector_db", description="The shop's Chroma folder, relative to `$SHOP_ROOT`."
    )
    generated_images_dir: str = Field(
        "generated_images", description="The shop's pictures, relative to `$SHOP_ROOT`."
    )
    instance_id: str = Field(
        "default", description="Tenant; part of every key in the store. Letters, digits, - and _."
    )
    control_database_url: SecretStr = Field(
        SecretStr("sqlite:///instance/control.db"),
        description="The control plane; a relative SQLite path starts at `$DESK_HOME`.",
    )
    backup_store_url: str | None = Field(
        None,
        description="Where backups go: `file:FOLDER` or `s3://BUCKET/PREFIX`. By default "
        "`s3://$S3_BACKUP_BUCKET` when that is set, else `file:instance/backups`.",
    )
    s3_backup_bucket: str | None = Field(None, description="The shop's name for the bucket.")
    aws_endpoint_url_s3: str | None = Field(
        None, description="An S3-compatible server instead of AWS; read by botocore too."
    )
    aws_region: str | None = Field(None, description="Region of the bucket.")
    aws_access_key_id: str | None = Field(
        None, description="Access key; when not set, boto3's own chain (profile, role) decides."
    )
    aws_secret_access_key: SecretStr | None = Field(None, description="Its secret.")
    aws_session_token: SecretStr | None = Field(None, description="Of temporary credentials.")
    backup_age_recipients: str | None = Field(
        None,
        description="Encrypts every backup for these age keys (`age1...`, separated by commas); "
        "whoever holds one of the identities can open it.",
    )
    backup_age_identity_file: Path | None = Field(
        None,
        description="File with the age identity; only where one restores or drills. "
        "A relative path starts at `$DESK_HOME`.",
    )
    backup_signing_key: SecretStr | None = Field(
        None,
        description="Signs manifests (HMAC-SHA256), 32 or more characters; several separated by "
        "commas: the first signs, each is accepted. An unsigned manifest is then refused.",
    )
    backup_copy_url: str | None = Field(
        None,
        description="Second store for a copy of every snapshot: `file:FOLDER` or "
        "`s3://BUCKET/PREFIX`, with the same credentials.",
    )
    legacy_time_zone: str = Field(
        "UTC",
        description="Zone of the machine that made legacy backups (below `backups/`): their "
        "names tell its local time. `Europe/Berlin`, say.",
    )
    backup_s3_encryption: Literal["auto", "none", "sse-s3", "sse-kms"] = Field(
        "auto",
        description="Encryption at rest that is asked of S3, and checked on every object: `auto` "
        "is `sse-s3` at AWS and `none` at other servers.",
    )
    backup_s3_kms_key: str | None = Field(
        None, description="KMS key of `sse-kms` (id, ARN or alias); the account's own by default."
    )
    keep_days: int = Field(30, ge=0, le=3660, description="Retention: the newest of each day.")
    keep_weeks: int = Field(8, ge=0, le=520, description="Retention: the newest of each week.")
    keep_months: int = Field(12, ge=0, le=240, description="Retention: the newest of each month.")
    keep_minimum: int = Field(
        7, ge=1, le=10_000, description="Retention never leaves fewer snapshots than this."
    )
    archive_after_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days after which S3 moves `data/` to `ARCHIVE_CLASS`; 0: never.",
    )
    archive_class: Literal["GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"] = Field(
        "GLACIER", description="Storage class of archived snapshots."
    )
    object_lock_days: int = Field(
        0, ge=0, le=3650, description="Days for which S3 Object Lock keeps new objects; 0: off."
    )
    aws_secrets_insightshop: str | None = Field(
        None,
        description="Name of a Secrets Manager secret, a JSON object of settings; an explicit "
        "variable wins over it.",
    )
    backup_temp_dir: Path | None = Field(
        None,
        description="Room for one copy of the database while it is captured or restored; "
        "`instance/tmp` by default.",
    )
    desk_secret_key: SecretStr | None = Field(
        None, description="Signs the sign-in cookie; made at first start when not set."
    )
    desk_setup_code: SecretStr | None = Field(
        None, description="Opens the first-administrator form; made at first start when not set."
    )
    desk_url: str = Field("", description="The desk's public address, for links in messages.")
    alert_urls: SecretStr | None = Field(
        None,
        description="Where alerts are sent: apprise addresses (`mailtos://...`, `slack://...`, "
        "`json://...`), separated by commas.",
    )
    heartbeat_url: SecretStr | None = Field(
        None,
        description="A dead man's switch outside: pinged at the start of a backup (`/start` after "
        "it), at its success and at its failure (`/fail`).",
    )
    kb_publish_dir: Path | None = Field(
        None,
        description="Folder from which the shop reads its knowledge base: releases are written "
        "there as `fashion_kb.py` and `fashion_kb.json`, and committed where it is a git "
        "checkout. A relative path starts at `$SHOP_ROOT`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="How much the desk writes to standard error."
    )
    # A child process is given the second store as its only one, and names it as a person does.
    _store_setting: str = PrivateAttr(
        default_factory=lambda: os.environ.get(_STORE_IS_NAMED, "BACKUP_STORE_URL")
    )

    @field_validator("desk_home")
    @classmethod
    def _home_is_absolute(cls, value: Path) -> Path:
        return PROJECT_ROOT / value.expanduser()

    @field_validator("instance_id")
    @classmethod
    def _instance_is_a_key_part(cls, value: str) -> str:
        if not _INSTANCE_ID.fullmatch(value):
            raise ValueError("1 to 63 letters, digits, - or _, starting with a letter or digit")
        return value

    @field_validator("legacy_time_zone")
    @classmethod
    def _zone_is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("the name of a time zone, such as UTC or Europe/Berlin") from error
        return value

    @field_validator("database_url", "control_database_url", "drill_database_url")
    @classmethod
    def _database_is_known(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_database_url(value.get_secret_value()):
            raise ValueError("sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
        return value

    @field_validator("drill_database_url")
    @classmethod
    def _drills_need_a_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgres"):
            raise ValueError("postgresql://USER:PASSWORD@HOST/NAME")
        return value

    @field_validator("postgres_tools")
    @classmethod
    def _tools_are_there(cls, value: str | None) -> str | None:
        if not all(Path(folder).is_dir() for folder in (value or "").split(os.pathsep) if folder):
            raise ValueError(f"folders that are there, separated by {os.pathsep}")
        return value

    @field_validator("backup_s3_kms_key")
    @classmethod
    def _key_is_used(cls, value: str | None, others: ValidationInfo) -> str | None:
        # Otherwise objects would silently be encrypted in another way than somebody meant.
        if value and others.data.get("backup_s3_encryption") != "sse-kms":
            raise ValueError("nothing, unless BACKUP_S3_ENCRYPTION is sse-kms")
        return value

    @field_validator("alert_urls")
    @classmethod
    def _alerts_have_addresses(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not are_addresses(value.get_secret_value()):
            raise ValueError("apprise addresses (SERVICE://...), separated by commas")
        return value

    @field_validator("heartbeat_url")
    @classmethod
    def _heartbeat_is_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_web_address(value.get_secret_value()):
            raise ValueError("https://HOST/PATH")
        return value

    @field_validator("backup_store_url", "backup_copy_url")
    @classmethod
    def _store_is_known(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("file:", "s3://")):
            raise ValueError("file:FOLDER or s3://BUCKET/PREFIX")
        return value

    @property
    def instance_dir(self) -> Path:
        """The desk's own folder: control database, secrets, job logs, local backups."""
        return self.desk_home / "instance"

    @property
    def temp_dir(self) -> Path:
        """Scratch space for captures and restores, on the desk's disk."""
        if self.backup_temp_dir is None:
            return self.instance_dir / "tmp"
        return self.desk_home / self.backup_temp_dir.expanduser()

    @property
    def shop_dir(self) -> Path:
        """Where the shop's relative paths start."""
        if self.shop_root is None:
            return self.desk_home
        return self.desk_home / self.shop_root.expanduser()

    @property
    def shop_database_url(self) -> str:
        """SQLAlchemy URL of the shop's database (`sqlite:///...` or `postgresql+psycopg://...`)."""
        if self.database_url is not None:
            return normalise_database_url(self.database_url.get_secret_value(), self.shop_dir)
        path = Path(self.db_path or "insightshop.db").expanduser()
        if not path.is_absolute():
            path = self.shop_dir / "instance" / path
        return sqlite_url(path)

    @property
    def shop_sqlite_path(self) -> Path | None:
        """The shop's SQLite file, or None when the shop runs on a server database."""
        return sqlite_file(self.shop_database_url)

    @property
    def control_url(self) -> str:
        """SQLAlchemy URL of the control database."""
        return normalise_database_url(self.control_database_url.get_secret_value(), self.desk_home)

    @property
    def vector_dir(self) -> Path:
        """The shop's Chroma folder."""
        return self.shop_dir / Path(self.vector_db_path).expanduser()

    @property
    def images_dir(self) -> Path:
        """The shop's generated pictures."""
        return self.shop_dir / Path(self.generated_images_dir).expanduser()

    @property
    def shop_kb_module(self) -> Path:
        """The shop's own knowledge module, which the desk offers to import."""
        return self.shop_dir / "utils" / "fashion_kb.py"

    @property
    def publish_dir(self) -> Path | None:
        """Where releases of the knowledge base are written for the shop; None: nowhere."""
        if self.kb_publish_dir is None:
            return None
        return self.shop_dir / self.kb_publish_dir.expanduser()

    @property
    def store_url(self) -> str:
        """The backup store: an absolute `file:` URL or `s3://bucket/prefix`."""
        url = self.backup_store_url
        if url is None:
            url = (
                f"s3://{self.s3_backup_bucket}"
                if self.s3_backup_bucket
                else "file:instance/backups"
            )
        return self._absolute(url)

    @property
    def store_setting(self) -> str:
        """The variable that a person set `store_url` by, for errors."""
        return self._store_setting

    @property
    def copy_url(self) -> str | None:
        """The second store, in the same form; None where there is none."""
        return self._absolute(self.backup_copy_url) if self.backup_copy_url else None

    def with_the_copy_alone(self) -> Settings:
        """The settings of a desk that has nothing but its second store."""
        there = {"backup_store_url": self.copy_url, "backup_copy_url": None}
        alone = self.model_copy(update=there)
        alone._store_setting = "BACKUP_COPY_URL"
        return alone

    @property
    def alert_addresses(self) -> tuple[str, ...]:
        """Where alerts go, each address by itself; secrets."""
        return addresses(self.alert_urls.get_secret_value()) if self.alert_urls else ()

    def _absolute(self, url: str) -> str:
        if url.startswith("file:"):
            folder = Path(unquote(re.sub(r"^file:(//)?", "", url))).expanduser()
            return f"file:{folder if folder.is_absolute() else self.desk_home / folder}"
        return url

    def as_environment(self) -> dict[str, str]:
        """Every setting that is set, as variables: what a child process needs to see the same."""
        values = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None and value != "":
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                values[name.upper()] = str(plain)
        if self._store_setting != "BACKUP_STORE_URL":
            values[_STORE_IS_NAMED] = self._store_setting
        if self.aws_secrets_insightshop:
            values[ALREADY_READ] = self.aws_secrets_insightshop
        return values

    @property
    def names_a_shop(self) -> bool:
        """Whether the owner pointed the desk at a shop; if not, a sample shop may be built."""
        return bool(self.database_url or self.db_path or self.shop_root)
