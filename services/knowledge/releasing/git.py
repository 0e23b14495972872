"""A release as a commit and a tag, where the shop's folder is a git checkout.

Only our two files are ever committed, whatever else is changed or staged there. Nothing is
asked, nothing waits for a keyboard, and nothing of the desk's environment (which holds
secrets) reaches git or the hooks that it runs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.core.errors import Refused

LOOK_SECONDS = 20.0
COMMIT_SECONDS = 120.0
"""Hooks of the shop may run its tests."""

COMMITTER = ("InsightShop desk", "desk")

_LOCK_SECONDS = 5.0
_SHOWN = 500
_READ_BYTES = 1_000_000
_PASSED_ON = (
    "HOME",
    "PATH",
    "TMPDIR",
    "TZ",
    "USER",
    "LOGNAME",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "GNUPGHOME",
    "SSH_AUTH_SOCK",
)
_UNDER_WAY = (
    ("MERGE_HEAD", "a merge"),
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("BISECT_LOG", "a bisect"),
)


class GitTrouble(Refused):
    """Git can't commit as things stand."""


@dataclass(frozen=True)
class Checkout:
    """A folder in a git work tree."""

    folder: Path


@dataclass(frozen=True)
class Message:
    """What is committed, by whom, and under which name it is found again."""

    title: str
    text: str
    trailers: tuple[tuple[str, str], ...]
    author: str
    author_id: str
    instance: str
    at: datetime
    tag: str

    @property
    def whole(self) -> str:
        """As git gets it."""
        lines = "\n".join(f"{name}: {value}" for name, value in self.trailers)
        body = f"{self.text.strip()}\n\n" if self.text.strip() else ""
        return f"{self.title}\n\n{body}{lines}\n"


@dataclass(frozen=True)
class Committed:
    """What came of it; both are None where git is told to ignore the files."""

    commit: str | None
    tag: str | None


@dataclass(frozen=True)
class _Ran:
    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """Everything, for a person."""
        return _short(f"{self.errors}\n{self.output}")


def find(folder: Path) -> Checkout | None:
    """The checkout that a folder lies in; None where there is none, or no git to use it.

    Raises:
        GitTrouble: git refuses to work there, or it is a folder of git's own.
    """
    if not _looks_like_git(folder) or shutil.which("git") is None:
        return None
    ran = _run(folder, ["rev-parse", "--is-inside-work-tree", "--is-inside-git-dir"])
    if ran.code and "dubious ownership" in ran.errors:
        raise GitTrouble(
            f"Git refuses to work in {folder}: it belongs to another account than the desk's.",
            "Run the desk under the account that owns the checkout, or run `git config --global "
            "--add safe.directory <the checkout>` as the desk's account.",
        )
    if ran.code:
        raise GitTrouble(
            f"Git can't tell what {folder} is: {ran.said}",
            "Run `git status` in that folder and put right what it says.",
        )
    if ran.output.split() != ["true", "false"]:
        raise GitTrouble(
            f"{folder} belongs to git itself, or to a repository without a checkout.",
            "Name the folder of a checkout in KB_PUBLISH_DIR.",
        )
    return Checkout(folder)


def is_missing(folder: Path) -> bool:
    """Whether a folder seems to lie in a checkout, but there is no git to use it."""
    return shutil.which("git") is None and _looks_like_git(folder)


def _looks_like_git(folder: Path) -> bool:
    real = folder.resolve()
    return any(
        (above / ".git").exists() or ((above / "HEAD").is_file() and (above / "objects").is_dir())
        for above in (real, *real.parents)
    )


def require_ready(checkout: Checkout, wait: float = _LOCK_SECONDS) -> None:
    """Refuse while git is in the middle of something that a commit would disturb.

    A detached HEAD is no hindrance: the tag keeps what is committed there.

    Args:
        wait: seconds in which a git that is at work may end.

    Raises:
        GitTrouble: says in the middle of what.
    """
    folder = checkout.folder
    names = [name for name, _what in _UNDER_WAY]
    asked = [part for name in (*names, "index.lock") for part in ("--git-path", name)]
    ran = _run(folder, ["rev-parse", *asked])
    if ran.code:
        raise _said("Git can't be asked how it stands", ran)
    *places, lock = (folder / line for line in ran.output.splitlines())
    for place, (_name, what) in zip(places, _UNDER_WAY, strict=True):
        if place.exists():
            raise GitTrouble(
                f"The git checkout {folder} is in the middle of {what}; nothing can be "
                "committed there.",
                f"End it there, or take it back (`git status` in {folder} says how), then try "
                "again.",
            )
    given_up = time.monotonic() + wait
    while lock.exists():
        if time.monotonic() > given_up:
            raise GitTrouble(
                f"Another git works in {folder}, or one was killed there: {lock} is there.",
                "When no git runs there any more, remove that file, then try again.",
            )
        time.sleep(0.1)
    if _run(folder, ["ls-files", "--unmerged", "--", ":/"]).output.strip():
        raise GitTrouble(
            f"The git checkout {folder} holds files with conflicts; nothing can be committed "
            "there.",
            f"Resolve them (`git status` in {folder} names them), then try again.",
        )


def commit(checkout: Checkout, names: Sequence[str], message: Message) -> Committed:
    """Commit these files as they lie there, and nothing else; then tag what was committed.

    Where that was done already, by this function before it was killed, it is found and kept.

    Args:
        names: of files in the checkout's folder.

    Raises:
        GitTrouble: git refused; the files are as they were. Says what git said.
    """
    require_ready(checkout)
    folder = checkout.folder
    ours = [name for name in names if not _is_ignored(folder, name)]
    if not ours:
        return Committed(None, None)
    _introduce(folder, ours)
    if _differs(folder, ours):
        _commit(folder, ours, message)
    found = _run(folder, ["log", "-1", "--format=%H", "--", *ours])
    made = found.output.strip()
    if found.code or not re.fullmatch(r"[0-9a-f]{40,64}", made):
        raise _said("The commit could not be found", found)
    return Committed(made, _tag(folder, made, message))


def _is_ignored(folder: Path, name: str) -> bool:
    # What is tracked is never ignored, whatever .gitignore says.
    return _run(folder, ["check-ignore", "--quiet", "--", name]).code == 0


def _introduce(folder: Path, names: Sequence[str]) -> None:
    """Let git know of files that it does not track, without staging what they say."""
    tracked = _run(folder, ["ls-files", "-z", "--", *names]).output.split("\0")
    new = [name for name in names if name not in tracked]
    if new:
        ran = _run(folder, ["add", "--intent-to-add", "--", *new], COMMIT_SECONDS)
        if ran.code:
            raise _said("The release is written, but git would not take it", ran)


def _differs(folder: Path, names: Sequence[str]) -> bool:
    if _run(folder, ["rev-parse", "--verify", "--quiet", "HEAD"]).code:
        return True  # nothing was ever committed here
    ran = _run(folder, ["diff", "--quiet", "--no-ext-diff", "HEAD", "--", *names], COMMIT_SECONDS)
    if ran.code not in (0, 1):
        raise _said("Git can't compare the release with what was committed", ran)
    return ran.code == 1


def _commit(folder: Path, names: Sequence[str], message: Message) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write(message.whole)
        file.flush()
        words = ["commit", "--only", "--no-edit", "--cleanup=verbatim", "--quiet"]
        ran = _run(folder, [*words, f"--file={file.name}", "--", *names], COMMIT_SECONDS, message)
    if ran.code:
        raise _said("The release is written, but git did not commit it", ran)


def _tag(folder: Path, made: str, message: Message) -> str:
    """An annotated tag; one that is there already is never moved."""
    for name in (message.tag, f"{message.tag}-{made[:10]}"):
        there = _run(folder, ["rev-parse", "--verify", "--quiet", f"refs/tags/{name}^{{commit}}"])
        if there.output.strip() == made:
            return name
        if not there.code:
            continue
        words = ["tag", "--annotate", f"--message={message.title}", name, made]
        ran = _run(folder, words, COMMIT_SECONDS, message)
        if ran.code:
            raise _said("The release is committed, but git did not tag it", ran)
        return name
    raise GitTrouble(
        f"The release is committed, but the tags {message.tag} and its like are taken.",
        "Rename the tag that is in the way, then write the release again.",
    )


def _said(what: str, ran: _Ran) -> GitTrouble:
    return GitTrouble(
        f"{what}: {ran.said or f'exit code {ran.code}, without a word'}",
        "Put right what git or the hook says, then write the release again.",
    )


def _short(output: str) -> str:
    told = " ".join("".join(c if c.isprintable() else " " for c in output).split())
    return told if len(told) <= _SHOWN else f"{told[:_SHOWN]}…"


def identity(text: str) -> str:
    """A name or a part of an address as git takes it: printable, without its own signs."""
    kept = "".join(c if c.isprintable() and c not in "<>" else " " for c in text)
    return " ".join(kept.split()).strip(" .,:;\"'\\")[:100]


def _address(author_id: str, instance: str) -> str:
    local = re.sub(r"[^A-Za-z0-9._-]+", "-", author_id).strip("-.") or "nobody"
    # `.invalid` never leads anywhere: no mail can be sent to an account of the desk.
    return f"{local[:60]}@{instance.lower()}.invalid"


def _environment(message: Message | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    kept |= {
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
    }
    if message is None:
        return kept | {"GIT_OPTIONAL_LOCKS": "0"}
    name, account = COMMITTER
    return kept | {
        "GIT_AUTHOR_NAME": identity(message.author) or "Somebody",
        "GIT_AUTHOR_EMAIL": _address(message.author_id, message.instance),
        "GIT_AUTHOR_DATE": message.at.isoformat(),
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": _address(account, message.instance),
    }


def _run(
    folder: Path,
    words: Sequence[str],
    seconds: float = LOOK_SECONDS,
    message: Message | None = None,
) -> _Ran:
    """Run git; what it and its hooks say comes back as one text.

    Raises:
        GitTrouble: it did not end in time, or can't be started.
    """
    command = ["git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", *words]
    # Into files: a hook may leave a process behind that would keep a pipe open for ever.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(message),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise GitTrouble(
                f"Git can't be started ({error.strerror}).", "See that git is installed."
            ) from error
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            raise GitTrouble(
                f"Git did not end within {seconds:.0f} seconds and was stopped.",
                f"See in {folder} what it waits for (a hook, a signature, a slow disk), then "
                "write the release again.",
            ) from None
        except BaseException:
            _end(process)
            raise
        told = []
        for file in (output, errors):
            file.seek(0)
            told.append(file.read(_READ_BYTES).decode("utf-8", "replace"))
        return _Ran(code, *told)


def _end(process: subprocess.Popen[bytes]) -> None:
    # Asked to end, git removes its locks; a hook that does not listen is killed.
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
