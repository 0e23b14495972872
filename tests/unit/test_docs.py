"""What the documents say is what the code does.

`python -m tests.unit.test_docs` prints the configuration table for README.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.core.settings import PROJECT_ROOT, Settings

README = PROJECT_ROOT / "README.md"
EXAMPLE = PROJECT_ROOT / ".env.example"
TABLE_HEAD = "| variable | default | meaning |\n|---|---|---|\n"


def shown_default(value: Any) -> str:
    """A default as the table writes it."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value == PROJECT_ROOT:
        return "the project's folder"
    return f"`{value}`" if value not in (None, "") else "–"


def configuration_table() -> str:
    """The table of every setting, from the settings themselves."""
    return TABLE_HEAD + "".join(
        f"| `{name.upper()}` | {shown_default(field.default)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    )


def test_the_readme_holds_the_configuration_table_exactly_as_the_settings_are():
    text = README.read_text("utf-8")
    start = text.index(TABLE_HEAD)
    table = text[start : text.index("\n\n", start) + 1]
    assert table == configuration_table(), "run `python -m tests.unit.test_docs`, paste it"


def test_the_example_environment_names_every_setting_and_sets_none():
    lines = EXAMPLE.read_text("utf-8").splitlines()
    assert all(not line or line.startswith("# ") for line in lines), "every line is a comment"
    named = [m[1] for line in lines if (m := re.match(r"# ([A-Z][A-Z0-9_]+)=", line))]
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


def test_values_in_the_example_are_the_defaults_or_examples_that_the_settings_accept(tmp_path):
    text = EXAMPLE.read_text("utf-8")
    given = dict(re.findall(r"^# ([A-Z][A-Z0-9_]+)=(.+)$", text, re.MULTILINE))
    example = tmp_path / ".env"
    example.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    read = Settings(_env_file=example)
    plain = Settings(_env_file=None)
    examples = {"DESK_HOME", "DESK_URL", "SHOP_ROOT"}
    for name in given.keys() - examples:
        unset = getattr(plain, name.lower())
        value = getattr(read, name.lower())
        # What has no default of its own shows what the desk then uses.
        stands_for = {"DB_PATH": "insightshop.db", "BACKUP_STORE_URL": "file:instance/backups"}
        assert value == (unset if unset is not None else stands_for[name]), name


@pytest.mark.parametrize("listed", ["requirements.txt", "requirements-dev.txt"])
def test_every_direct_dependency_has_one_line_that_says_why(listed):
    text = (PROJECT_ROOT / "docs" / "dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w\-\[\]]+) \| (.+) \|$", text, re.MULTILINE)
    why = {name: reason for name, reason in rows if name != "package"}
    lines = (PROJECT_ROOT / listed).read_text().splitlines()
    named = [line.split("==")[0] for line in lines if re.match(r"[a-z]", line)]
    assert named and all(len(why[name]) > 10 for name in named)
    assert len(why) == len([name for name, _reason in rows if name != "package"])


def test_no_dependency_is_explained_that_is_not_there():
    text = (PROJECT_ROOT / "docs" / "dependencies.md").read_text("utf-8")
    names = set(re.findall(r"^\| ([\w\-\[\]]+) \|", text, re.MULTILINE)) - {"package"}
    listed = "".join(
        (PROJECT_ROOT / f"requirements{kind}.txt").read_text() for kind in ("", "-dev")
    )
    assert names == {line.split("==")[0] for line in listed.splitlines() if "==" in line}


def test_every_locked_direct_dependency_has_the_pinned_version():
    for kind in ("requirements", "requirements-dev"):
        lock = (PROJECT_ROOT / f"{kind}.lock").read_text()
        for line in (PROJECT_ROOT / f"{kind}.txt").read_text().splitlines():
            if "==" in line:
                name, version = re.sub(r"\[.*\]", "", line).split("==")
                assert re.search(rf"^{re.escape(name)}(\[.*\])?=={version}\b", lock, re.M), line


@pytest.mark.parametrize(
    "document",
    ["README.md", "docs/guide.md", "docs/recovery.md", "docs/keys.md", "docs/storage.md"],
)
def test_every_link_inside_the_project_leads_somewhere(document):
    path = PROJECT_ROOT / document
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    pictures = {f"docs/screenshots/{name}.png" for name in ("overview", "restore")}
    assert set(missing) <= pictures, "screenshots alone may be missing until the tests took them"


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "docs/guide.md",
        "docs/recovery.md",
        "docs/keys.md",
        "docs/storage.md",
        ".env.example",
    ],
)
def test_commands_in_the_documents_are_commands_that_exist(document):
    text = (PROJECT_ROOT / document).read_text("utf-8")
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for file in re.findall(r"\b((?:services|benchmarks)/[a-z_/]+\.py)", text):
        assert (PROJECT_ROOT / file).is_file(), file
    for module in re.findall(r"python -m ((?:services|tests)[\w.]+)", text):
        assert Path(PROJECT_ROOT, *module.split(".")).with_suffix(".py").is_file(), module


if __name__ == "__main__":
    sys.stdout.write(configuration_table())
