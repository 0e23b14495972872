"""Work that a click must not cut off: the page runs again only when all is done."""

from __future__ import annotations

import pytest

from services.core.errors import Invalid
from ui import progress


class _Stop(BaseException):
    """How the page is told to run again: whatever it draws raises this."""


class _Bar:
    """A bar that is drawn twice; then somebody clicks."""

    def __init__(self, clicked_at):
        self.drawn, self.gone, self._clicked_at = [], False, clicked_at

    def progress(self, _value, text):
        if len(self.drawn) == self._clicked_at:
            raise _Stop
        self.drawn.append(text)
        return self

    def empty(self):
        self.gone = True


@pytest.fixture
def bar(monkeypatch, request):
    """The bar of the page."""
    made = _Bar(request.param)
    monkeypatch.setattr(progress.st, "progress", lambda _value, text: made)
    return made


@pytest.mark.parametrize("bar", [1], indirect=True)
def test_a_click_while_it_runs_waits_for_the_end_and_is_heard_then(bar):
    done = []

    def work(watch):
        for step in ("Freezing", "Writing", "Committing"):
            watch(step, 0.5)
            done.append(step)

    with pytest.raises(_Stop):
        progress.to_the_end("Publishing", work)
    assert done == ["Freezing", "Writing", "Committing"]
    assert bar.drawn == ["Publishing: freezing"] and not bar.gone


@pytest.mark.parametrize("bar", [9], indirect=True)
def test_what_fails_takes_its_bar_away(bar):
    def work(watch):
        watch("Writing to <b>*here*</b>", None)
        raise Invalid("It can't be.")

    with pytest.raises(Invalid):
        progress.to_the_end("Publishing", work)
    assert bar.gone and bar.drawn == [r"Publishing: writing to \<b\>\*here\*\</b\>"]
