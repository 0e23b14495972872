"""The folder the shop reads: never half a file, never a byte too many, never a lost edit."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from services.core.errors import Busy, DeskError, Invalid, Refused
from services.core.settings import PROJECT_ROOT
from services.knowledge import reading
from services.knowledge.asking import Found, LookUp, ask
from services.knowledge.reading import read_module
from services.knowledge.releasing import activating, folder, releases, standing
from services.knowledge.releasing.model import FolderState
from tests.conftest import desk_settings
from tests.knowledge_base import load, small_kb
from tests.services.publishing import JSON, MODULE, SHOPS_OWN, navy_in, publish, say, value_in


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into the folder of the shop's module."""
    return desk_settings(tmp_path, kb_publish_dir="utils")


@pytest.fixture
def place(settings):
    """The folder that the shop reads."""
    path = settings.publish_dir
    path.mkdir(parents=True)
    return path


@pytest.fixture
def taken_over(ctx, shop, editor, place):
    """The shop's own module lies there, and the desk holds its knowledge."""
    (place / MODULE).write_bytes(SHOPS_OWN)
    load(ctx, read_module(SHOPS_OWN))
    return place


# --- the shop's own module ---

_ASKED = """
import json, sys, fashion_kb as kb
questions = json.load(sys.stdin)
print(json.dumps([[kb.get_color_advice(q), kb.get_fabric_info(q), kb.get_occasion_advice(q),
                   kb.get_dress_code(q), kb.get_outfit_formula(q)] for q in questions]))
print(json.dumps(kb.get_fashion_knowledge_base_text()))
"""
_QUESTIONS = [
    "navy", "NAVY", "rust", "silk blouse", "silk", "job interview", "Job Interview", "black tie",
    "dress", "linen", "date night", "wool coat", "jeans", "t-shirt", "", " ", "a", "teal",
    "Ünïcode →", "cotton shirt dress", "business casual", "x" * 1000,
]  # fmt: skip


def _answers(place):
    ran = subprocess.run(
        [sys.executable, "-c", _ASKED],
        cwd=place,
        input=json.dumps(_QUESTIONS),
        capture_output=True,
        text=True,
        check=True,
    )
    answers, text = ran.stdout.splitlines()
    return json.loads(answers), json.loads(text)


def _said(answer):
    if answer.found is not Found.ENTRY:
        return answer.found
    texts = dict(answer.texts)
    return texts.get("text", texts) if set(texts) == {"text"} else texts


def _as_the_desk_says(document, question, general):
    found = {answer.look_up: answer for answer in ask(document, question)}
    told = []
    for look_up in LookUp:
        said = _said(found[look_up])
        if said is Found.NOTHING:
            said = None
        elif said is Found.GENERAL:
            said = general[look_up]
        told.append(said)
    return told


def test_the_shops_own_functions_answer_as_try_it_does_before_and_after(ctx, editor, taken_over):
    general_of = _answers(taken_over)[0][_QUESTIONS.index("x" * 1000)]
    general = dict(zip(LookUp, general_of, strict=True))
    for number in range(2):
        document = read_module((taken_over / MODULE).read_bytes())
        answers, _text = _answers(taken_over)
        for question, answer in zip(_QUESTIONS, answers, strict=True):
            assert answer == _as_the_desk_says(document, question, general), (number, question)
        said = f'Navy → "red"\n\\ and 🎈 {number}.'
        say(ctx, editor, said)
        publish(ctx, editor)
    assert _answers(taken_over)[0][0][0] == said


def test_every_byte_outside_the_value_stays_and_so_do_mode_and_owner(ctx, editor, taken_over):
    module = taken_over / MODULE
    if os.geteuid() == 0:
        os.chown(module, 12345, 12346)
    module.chmod(0o440)
    before = module.stat()
    say(ctx, editor, "Navy likes red.")
    assert publish(ctx, editor).problem is None
    head, _assigned, rest = SHOPS_OWN.partition(b"FASHION_KNOWLEDGE_BASE = {")
    tail = rest[rest.index(b"\n}\n") + 2 :]
    written = module.read_bytes()
    assert written.startswith(head + b"FASHION_KNOWLEDGE_BASE = {") and written.endswith(tail)
    after = module.stat()
    for name in ("st_mode", "st_uid", "st_gid"):
        assert getattr(after, name) == getattr(before, name)
    assert int(after.st_mtime) > int(before.st_mtime)  # or Python would go on with old bytecode


def test_a_release_in_the_same_second_is_seen_by_python_all_the_same(ctx, editor, taken_over):
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    assert navy_in(taken_over) == "Navy likes red."  # compiled now
    say(ctx, editor, "Navy likes tan.")
    publish(ctx, editor)
    assert navy_in(taken_over) == "Navy likes tan."


def test_functions_that_were_changed_by_hand_are_kept(ctx, editor, taken_over):
    publish(ctx, editor)
    module = taken_over / MODULE
    module.write_bytes(module.read_bytes() + b"\n\ndef newer():\n    return 1\n")
    assert standing.folder(ctx, editor).state is FolderState.CURRENT
    say(ctx, editor, "Navy likes red.")
    assert publish(ctx, editor).problem is None
    assert module.read_bytes().endswith(b"def newer():\n    return 1\n")
    assert navy_in(taken_over) == "Navy likes red."


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_a_module_with_other_line_ends_keeps_them(ctx, editor, taken_over, newline):
    module = taken_over / MODULE
    module.write_bytes(SHOPS_OWN.replace(b"\n", newline))
    say(ctx, editor, "Navy likes\nred.")
    assert publish(ctx, editor).problem is None
    assert module.read_bytes().replace(newline, b"").count(b"\n") == 0
    assert navy_in(taken_over) == "Navy likes\nred."


def test_a_letter_that_the_modules_encoding_lacks_publishes_nothing(ctx, editor, taken_over):
    module = taken_over / MODULE
    text = b"# -*- coding: cp1252 -*-\n" + SHOPS_OWN.decode().replace("→", "-").encode("cp1252")
    module.write_bytes(text)
    load(ctx, read_module(text))
    say(ctx, editor, "Navy 🎈")
    with pytest.raises(Invalid, match="cp1252"):
        publish(ctx, editor)
    assert module.read_bytes() == text and not (taken_over / JSON).exists()
    assert releases.recent(ctx, editor).total == 0
    say(ctx, editor, "Navy é")
    assert publish(ctx, editor).problem is None and navy_in(taken_over) == "Navy é"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"def broken(:\n", "not valid Python"),
        (b"FASHION_KNOWLEDGE_BASE = {}\nFASHION_KNOWLEDGE_BASE = {}\n", "second time"),
        (b"import os\nFASHION_KNOWLEDGE_BASE = {'a': os.name}\n", "refers to|is code"),
        (b"FASHION_KNOWLEDGE_BASE = dict()\n", "calls a function"),
        (b"FASHION_KNOWLEDGE_BASE = {}\nFASHION_KNOWLEDGE_BASE.update({})\n", "changed by code"),
        (b"VALUE = {}\n", "assigns nothing"),
        (b"\xff\xfe\x00", "Python|encoding"),
        (b"", "assigns nothing"),
        (b"FASHION_KNOWLEDGE_BASE = {'a': '\\ud800'}\n", "half a character"),
    ],
)
def test_a_module_that_the_desk_can_not_read_is_never_replaced(
    ctx, shop, editor, place, source, said
):
    load(ctx)
    (place / MODULE).write_bytes(source)
    seen = standing.folder(ctx, editor)
    assert seen.state is FolderState.UNUSABLE
    for over in (False, True):
        with pytest.raises(Refused, match=said):
            publish(ctx, editor, over_hand_edits=over)
    assert (place / MODULE).read_bytes() == source
    assert [path.name for path in place.iterdir()] == [MODULE]
    assert releases.recent(ctx, editor).total == 0


def test_a_module_of_masses_of_code_is_refused_before_it_is_parsed_and_counted_once(
    ctx, shop, editor, place, monkeypatch
):
    load(ctx)
    monkeypatch.setattr(reading, "MAX_TOKENS", 1_000)
    (place / MODULE).write_bytes(b"FASHION_KNOWLEDGE_BASE = [" + b"0," * 200_000 + b"]\n")
    assert "pieces of code" in standing.folder(ctx, editor).message
    monkeypatch.setattr(reading, "read_module", None)
    monkeypatch.setattr(standing, "read_module", None)
    assert "pieces of code" in standing.folder(ctx, editor).message
    with pytest.raises(Refused, match="pieces of code"):
        publish(ctx, editor, over_hand_edits=True)


# --- folders that are in no order ---


def test_a_link_is_not_written_nor_replaced(ctx, shop, editor, place, tmp_path):
    load(ctx)
    (tmp_path / "real.py").write_bytes(SHOPS_OWN)
    (place / MODULE).symlink_to(tmp_path / "real.py")
    with pytest.raises(Refused, match="is a link to another file"):
        publish(ctx, editor)
    assert (place / MODULE).is_symlink() and (tmp_path / "real.py").read_bytes() == SHOPS_OWN


def test_another_name_of_the_file_keeps_what_it_says(ctx, shop, editor, place, tmp_path):
    load(ctx)
    publish(ctx, editor)
    os.link(place / MODULE, tmp_path / "copy.py")
    before = (tmp_path / "copy.py").read_bytes()
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    assert (tmp_path / "copy.py").read_bytes() == before and navy_in(place) == "Navy likes red."


def test_a_folder_behind_a_link_is_written(ctx, shop, editor, place, tmp_path, settings):
    load(ctx)
    (tmp_path / "link").symlink_to(place)
    there = replace(ctx, settings=settings.model_copy(update={"kb_publish_dir": tmp_path / "link"}))
    assert publish(there, editor).problem is None and value_in(place) == small_kb()


def _no_folder(place):
    place.rmdir()


def _a_file(place):
    place.rmdir()
    place.write_text("in the way")


def _a_folder_for_a_file(place):
    (place / MODULE).mkdir()


def _a_pipe(place):
    os.mkfifo(place / JSON)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_folder, "is not there"),
        (_a_file, "is no folder"),
        (_a_folder_for_a_file, "is no file"),
        (_a_pipe, "is no file"),
    ],
)
def test_a_folder_that_can_not_be_used_says_why_and_nothing_is_published(
    ctx, shop, editor, place, spoil, said
):
    load(ctx)
    spoil(place)
    seen = standing.folder(ctx, editor)
    assert seen.state is FolderState.UNUSABLE and said in seen.message and seen.hint
    with pytest.raises(Refused, match=said):
        publish(ctx, editor)
    assert releases.recent(ctx, editor).total == 0


_AS_NOBODY = """
import os, sys
from pathlib import Path
from services.core.errors import DeskError
from services.knowledge.releasing import folder
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
place = Path(sys.argv[1])
try:
    there = folder.read_contents(place)
    folder.stage(place, there, b"{}", {})
except DeskError as error:
    print(error)
"""


@pytest.fixture
def open_place():
    """A folder that other accounts can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _as_nobody(place):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(place)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_folder_that_may_only_be_read_is_said(open_place):
    inner = open_place / "utils"
    inner.mkdir()
    inner.chmod(0o555)
    assert "can't be written by the desk" in _as_nobody(inner)


def test_a_file_of_another_account_is_left_to_it(open_place, monkeypatch):
    inner = open_place / "utils"
    inner.mkdir()
    (inner / MODULE).write_bytes(b"FASHION_KNOWLEDGE_BASE = {}\n")
    inner.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(Refused, match="belongs to another account"):
        folder.read_contents(inner)


def test_a_full_disk_publishes_nothing_and_leaves_nothing(ctx, shop, editor, place, monkeypatch):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    before = (place / MODULE).read_bytes(), (place / JSON).read_bytes()
    fsync = os.fsync
    for allowed in range(2):  # the first file, then the second, meets the end of the disk
        left = [allowed]

        def full(handle, left=left):
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left[0] -= 1
            fsync(handle)

        with monkeypatch.context() as during:
            during.setattr(folder.os, "fsync", full)
            with pytest.raises(Refused, match="No space left"):
                publish(ctx, editor)
    assert (before) == ((place / MODULE).read_bytes(), (place / JSON).read_bytes())
    assert sorted(path.name for path in place.iterdir() if path.is_file()) == [JSON, MODULE]
    assert releases.recent(ctx, editor).total == 1


def test_a_real_end_of_the_disk_is_said(tmp_path):
    code = """
import resource, signal, sys
from pathlib import Path
from services.core.errors import DeskError
from services.knowledge.releasing import folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
place = Path(sys.argv[1])
try:
    folder.stage(place, folder.read_contents(place), b"x" * 5000, {})
except DeskError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    assert "File too large" in ran.stdout and "Free some space" in ran.stdout, ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_not_be_replaced_is_told_and_written_later(
    ctx, shop, editor, place, monkeypatch
):
    load(ctx)

    def refused(self, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as during:
        during.setattr(Path, "replace", refused)
        made = publish(ctx, editor)
    assert made.written_at is None and "Operation not permitted" in made.problem
    assert standing.folder(ctx, editor).state is FolderState.BEHIND
    assert [path.name for path in place.iterdir()] == []
    again = activating.write_again(ctx, editor)
    assert (again.id, again.problem) == (made.id, None) and value_in(place) == small_kb()


# --- several at once ---


def test_publishers_wait_for_each_other_and_give_up_in_words(ctx, shop, editor, place, monkeypatch):
    load(ctx)
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.2)
    with folder.held(place, ctx.settings.instance_dir), pytest.raises(Busy, match="Somebody else"):
        publish(ctx, editor)
    assert releases.recent(ctx, editor).total == 0
    assert publish(ctx, editor).problem is None


def test_a_file_system_without_such_locks_is_locked_in_the_desks_own_folder(
    ctx, shop, editor, place, monkeypatch
):
    load(ctx)
    flock = folder.fcntl.flock

    def no_folders(handle, how):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(handle, how)

    monkeypatch.setattr(folder.fcntl, "flock", no_folders)
    assert publish(ctx, editor).problem is None
    assert (ctx.settings.instance_dir / "publish.lock").is_file()


def test_many_publishers_at_once_leave_one_whole_release(ctx, shop, editor, place):
    load(ctx)
    publish(ctx, editor)
    say(ctx, editor, "Navy likes red.")
    publish(ctx, editor)
    problems: list[str | None] = []

    def switch(number):
        for _ in range(4):
            try:
                problems.append(activating.make_current(ctx, editor, number, "mine").problem)
            except DeskError as error:
                problems.append(None if "current already" in error.message else str(error))

    threads = [threading.Thread(target=switch, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(problems) == {None}
    (newest,) = releases.activations(ctx, editor, rows=1).activations
    expected = small_kb()["color_matching"]["by_color"]["navy"]
    assert navy_in(place) == (expected if newest.release == 1 else "Navy likes red.")
    assert standing.folder(ctx, editor).state is FolderState.CURRENT
