"""A release as a commit: ours alone, whatever else goes on in the shop's checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from services.core.errors import Refused
from services.knowledge.reading import read_module
from services.knowledge.releasing import activating, git, releases, standing
from services.knowledge.releasing.model import FolderState
from tests.conftest import desk_settings
from tests.knowledge_base import load, small_kb
from tests.services.publishing import JSON, MODULE, SHOPS_OWN, publish, say, value_in


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into a folder of the shop's checkout."""
    return desk_settings(tmp_path, kb_publish_dir="utils")


@pytest.fixture(autouse=True)
def _own_git(tmp_path, monkeypatch):
    """No configuration of the machine's, and nobody's name in it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def run(settings):
    """Git in the shop's checkout, as the owner runs it."""
    root = settings.shop_dir
    (root / "utils").mkdir(parents=True)

    def run(*words, check=True):
        who = ("-c", "user.name=Owner", "-c", "user.email=owner@example.org")
        ran = subprocess.run(
            ["git", *who, *words], cwd=root, capture_output=True, text=True, check=False
        )
        assert not check or ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    run("init", "-q", "-b", "main")
    return run


@pytest.fixture
def checkout(run, settings):
    """A checkout with the shop's module and another file, both committed."""
    (settings.shop_dir / "utils" / MODULE).write_bytes(SHOPS_OWN)
    (settings.shop_dir / "app.py").write_text("print(1)\n")
    run("add", "utils", "app.py")
    run("commit", "-q", "-m", "The shop")
    return settings.shop_dir


@pytest.fixture
def started(ctx, shop, editor, checkout):
    """The shop's knowledge was taken over, and one entry changed."""
    load(ctx, read_module(SHOPS_OWN))
    say(ctx, editor, "Navy likes red.")
    return checkout


def test_a_release_is_a_commit_and_a_tag_with_the_name_of_who_published(ctx, editor, started, run):
    made = publish(ctx, editor, "# Spring\n\nBrighter → colours")
    assert made.problem is None
    assert (made.commit, made.tag) == (run("rev-parse", "HEAD"), "kb-release-1")
    who = run("log", "-1", "--format=%an|%ae|%cn|%ce")
    assert who == "Editor|id-editor@default.invalid|InsightShop desk|desk@default.invalid"
    digest = releases.release(ctx, editor, 1).digest
    assert run("log", "-1", "--format=%B") == (
        "Publish release 1 of the knowledge base\n\n# Spring\n\nBrighter → colours\n\n"
        f"Knowledge-Release: 1\nKnowledge-Digest: {digest}"
    )
    assert run("cat-file", "-t", "kb-release-1") == "tag"
    assert run("show", "--format=", "--name-only", "HEAD").split() == [
        f"utils/{JSON}",
        f"utils/{MODULE}",
    ]
    assert run("status", "--porcelain") == "?? instance/"
    assert standing.folder(ctx, editor).is_git


def test_the_work_of_others_is_neither_committed_nor_touched(ctx, editor, started, run):
    (started / "app.py").write_text("print(2)\n")
    (started / "staged.py").write_text("x\n")
    run("add", "staged.py")
    (started / "new.py").write_text("y\n")
    assert publish(ctx, editor).problem is None
    left = run("status", "--porcelain").splitlines()
    assert sorted(left) == ["?? instance/", "?? new.py", "A  staged.py", "M app.py"]
    assert (started / "app.py").read_text() == "print(2)\n"


def test_an_older_release_is_a_new_commit_with_a_tag_of_its_own(ctx, editor, started, run):
    publish(ctx, editor)
    first = run("rev-parse", "kb-release-1^{commit}")
    say(ctx, editor, "Navy likes green.")
    publish(ctx, editor)
    made = activating.make_current(ctx, editor, 1, "Green was wrong")
    assert made.tag == "kb-release-1-again-3"
    assert run("rev-parse", "kb-release-1^{commit}") == first != made.commit
    assert run("log", "-1", "--format=%s") == ("Make release 1 of the knowledge base current again")
    assert run("diff", "--stat", "kb-release-1", "HEAD") == ""


def test_the_first_commit_of_a_repository_can_be_ours(ctx, shop, editor, run):
    load(ctx)
    made = publish(ctx, editor)
    assert made.problem is None and run("rev-parse", "main") == made.commit


def test_on_a_detached_head_the_tag_keeps_the_commit(ctx, editor, started, run):
    run("checkout", "-q", "--detach")
    made = publish(ctx, editor)
    assert made.problem is None and run("rev-parse", "kb-release-1^{commit}") == made.commit
    assert run("rev-parse", "main") != made.commit


def in_a_merge(run, root, how):
    run("checkout", "-q", "-b", "side")
    (root / "app.py").write_text("print('side')\n")
    run("commit", "-q", "-am", "Side")
    run("checkout", "-q", "main")
    (root / "app.py").write_text("print('main')\n")
    run("commit", "-q", "-am", "Main")
    (root / "app.py").write_text("print('main, later')\n")
    run("commit", "-q", "-am", "Later")
    run(*how, check=False)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (("merge", "side"), "a merge"),
        (("rebase", "side"), "a rebase"),
        (("rebase", "--apply", "side"), "a rebase"),
        (("cherry-pick", "side"), "a cherry-pick"),
        (("revert", "--no-edit", "HEAD~1"), "a revert"),
        (("bisect", "start"), "a bisect"),
    ],
)
def test_in_the_middle_of_something_nothing_is_published(ctx, editor, started, run, how, said):
    in_a_merge(run, started, how)
    before = run("status", "--porcelain")
    seen = standing.folder(ctx, editor)
    assert seen.state is FolderState.UNUSABLE and seen.is_git and said in seen.message
    with pytest.raises(Refused, match=said):
        publish(ctx, editor)
    assert releases.recent(ctx, editor).total == 0
    assert (started / "utils" / MODULE).read_bytes() == SHOPS_OWN
    assert run("status", "--porcelain") == before


def test_conflicts_without_a_merge_hold_too(ctx, editor, started, run):
    (started / "app.py").write_text("print('stashed')\n")
    run("stash", "-q")
    (started / "app.py").write_text("print('other')\n")
    run("commit", "-q", "-am", "Other")
    run("stash", "pop", check=False)
    with pytest.raises(Refused, match="conflicts"):
        publish(ctx, editor)


def test_another_git_at_work_is_waited_for_and_then_named(ctx, editor, started, monkeypatch):
    monkeypatch.setattr(git, "_LOCK_SECONDS", 0.2)
    monkeypatch.setattr(git.require_ready, "__defaults__", (0.2,))
    (started / ".git" / "index.lock").touch()
    with pytest.raises(Refused, match=r"Another git works in .*index\.lock"):
        publish(ctx, editor)
    (started / ".git" / "index.lock").unlink()
    assert publish(ctx, editor).problem is None


def test_a_hook_that_fails_is_told_and_writing_again_commits(ctx, editor, started, run):
    hook = started / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nprintf '\\033[31mno <b>good</b>\\033[0m' >&2\nexit 1")
    hook.chmod(0o755)
    made = publish(ctx, editor)
    assert made.commit is None and made.written_at is not None
    assert "did not commit it" in made.problem and "no <b>good</b>" in made.problem
    assert "\x1b" not in made.problem
    assert value_in(started / "utils")["color_matching"]["by_color"]["navy"] == "Navy likes red."
    seen = standing.folder(ctx, editor)
    assert seen.state is FolderState.BEHIND and "no <b>good</b>" in seen.message
    assert run("log", "--format=%s") == "The shop"
    hook.unlink()
    again = activating.write_again(ctx, editor)
    assert (again.problem, again.tag, again.id) == (None, "kb-release-1", made.id)
    assert standing.folder(ctx, editor).state is FolderState.CURRENT


def test_a_hook_that_never_ends_is_stopped_and_leaves_no_lock(
    ctx, editor, started, run, monkeypatch
):
    monkeypatch.setattr(git, "COMMIT_SECONDS", 1.0)
    hook = started / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nsleep 300")
    hook.chmod(0o755)
    made = publish(ctx, editor)
    assert made.problem is not None and "did not end within 1 seconds" in made.problem
    assert not (started / ".git" / "index.lock").exists()
    hook.unlink()
    assert activating.write_again(ctx, editor).problem is None


def test_hooks_see_nothing_of_the_desks_environment(ctx, editor, started, run, monkeypatch):
    for name in ("DATABASE_URL", "DESK_SECRET_KEY", "GIT_DIR", "GIT_INDEX_FILE", "EDITOR"):
        monkeypatch.setenv(name, "secret-4711")
    hook = started / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nenv > seen.txt")
    hook.chmod(0o755)
    assert publish(ctx, editor).problem is None
    assert "secret-4711" not in (started / "seen.txt").read_text()


def test_files_that_git_is_told_to_ignore_are_written_and_not_committed(
    ctx, shop, editor, run, settings
):
    (settings.shop_dir / ".gitignore").write_text("utils/\ninstance/\n")
    load(ctx)
    made = publish(ctx, editor)
    assert (made.problem, made.commit, made.tag) == (None, None, None)
    assert value_in(settings.publish_dir) == small_kb()
    assert standing.folder(ctx, editor).state is FolderState.CURRENT


def test_a_tag_that_somebody_has_made_is_not_moved(ctx, editor, started, run):
    run("tag", "kb-release-1")
    theirs = run("rev-parse", "kb-release-1")
    made = publish(ctx, editor)
    assert made.tag == f"kb-release-1-{made.commit[:10]}"
    assert run("rev-parse", "kb-release-1") == theirs


def test_a_signature_that_can_not_be_made_is_told(ctx, editor, started, run):
    run("config", "commit.gpgsign", "true")
    run("config", "gpg.program", "/nowhere/gpg")
    made = publish(ctx, editor)
    assert made.commit is None and "did not commit it" in made.problem
    run("config", "commit.gpgsign", "false")
    assert activating.write_again(ctx, editor).problem is None


def test_a_name_that_git_does_not_take_is_made_one(ctx, editor, started, run):
    odd = replace(editor, name=" <Ann>\n\u202e ", id="ünï/#1")
    assert publish(ctx, odd).problem is None
    assert run("log", "-1", "--format=%an|%ae") == "Ann|n-1@default.invalid"
    say(ctx, editor, "Navy likes green.")
    assert publish(ctx, replace(editor, name="<>", id="")).problem is None
    assert run("log", "-1", "--format=%an|%ae") == "Somebody|nobody@default.invalid"


def test_without_git_the_files_are_written_and_that_is_said(
    ctx, editor, started, run, monkeypatch, tmp_path
):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    made = publish(ctx, editor)
    assert (made.problem, made.commit) == (None, None)
    seen = standing.folder(ctx, editor)
    assert seen.state is FolderState.CURRENT and "git is not installed" in seen.message


def test_a_checkout_of_another_account_is_refused_in_words(
    ctx, editor, started, tmp_path, monkeypatch
):
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    foreign = tmp_path / "bin" / "git"  # git's own tests make every folder a stranger's like this
    foreign.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    foreign.chmod(0o755)
    monkeypatch.setenv("PATH", f"{foreign.parent}:{os.environ['PATH']}")
    seen = standing.folder(ctx, editor)
    assert seen.state is FolderState.UNUSABLE and "safe.directory" in seen.hint
    with pytest.raises(Refused, match="belongs to another account"):
        publish(ctx, editor)


def test_a_folder_of_gits_own_is_refused(ctx, shop, editor, settings, run, tmp_path):
    load(ctx)
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    for folder in (bare, settings.shop_dir / ".git"):
        there = replace(ctx, settings=settings.model_copy(update={"kb_publish_dir": folder}))
        assert standing.folder(there, editor).state is FolderState.UNUSABLE
        with pytest.raises(Refused, match="belongs to git itself"):
            publish(there, editor)


def test_another_work_tree_of_a_repository_is_a_checkout_too(
    ctx, shop, editor, checkout, run, tmp_path, settings
):
    load(ctx)
    run("worktree", "add", "-q", str(tmp_path / "beside"))
    (tmp_path / "beside" / "utils" / MODULE).unlink()
    folder = tmp_path / "beside" / "utils"
    there = replace(ctx, settings=settings.model_copy(update={"kb_publish_dir": folder}))
    made = publish(there, editor)
    assert made.problem is None and run("rev-parse", "beside") == made.commit


def test_what_was_committed_before_a_kill_is_found_and_not_committed_twice(
    ctx, editor, started, run, monkeypatch
):
    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(activating, "_ended", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(ctx, editor)
    head = run("rev-parse", "HEAD")
    assert standing.folder(ctx, editor).state is FolderState.BEHIND
    made = activating.finish(ctx)
    assert made is not None and made.problem is None
    assert (made.commit, made.tag) == (head, "kb-release-1") and run("rev-parse", "HEAD") == head
    assert activating.finish(ctx) is None
