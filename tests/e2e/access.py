"""What a page must offer to somebody who hears it, or works it with the keyboard alone."""

from __future__ import annotations

from playwright.sync_api import Page

MOST_STOPS = 150

_SHARED = """
const shown = e => e.checkVisibility({visibilityProperty: true}) && !e.closest('[aria-hidden=true]')
  && !e.closest('[inert]');
const words = ids => (ids || '').split(' ').map(id => document.getElementById(id)?.innerText || '')
  .join(' ');
const nameOf = e => (e.getAttribute('aria-label') || words(e.getAttribute('aria-labelledby'))
  || [...(e.labels || [])].map(l => l.innerText).join(' ') || e.innerText || e.alt || e.title
  || '').trim();
"""

_FAULTS = (
    "() => {"
    + _SHARED
    + """
  const faults = [];
  const told = e => e.outerHTML.slice(0, 160);
  const kinds = 'button, a[href], input:not([type=hidden]):not([type=file]), select, textarea, '
    + '[role=button], [role=tab], [role=checkbox], [role=radio], [role=combobox]';
  for (const e of document.querySelectorAll(kinds)) {
    if (!shown(e)) continue;
    const name = nameOf(e);
    if (!name) faults.push('has no name: ' + told(e));
    else if (/\\*\\*|:material\\/|\\\\/.test(name)) faults.push('is read as markup: ' + name);
  }
  for (const e of document.querySelectorAll('img')) {
    if (shown(e) && !e.hasAttribute('alt')) faults.push('is a picture without a text: ' + told(e));
  }
  const drawn = '[data-testid=stPlotlyChart], [data-testid=stDataFrame]';
  for (const e of document.querySelectorAll(drawn)) {
    const own = e.matches('[aria-label]') ? e : e.querySelector('[aria-label], [aria-labelledby]');
    if (shown(e) && !own) faults.push('is drawn and says nothing: ' + told(e));
  }
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].filter(shown)
    .map(e => Number(e.tagName[1]));
  if (levels.filter(level => level === 1).length !== 1) faults.push('headings: ' + levels);
  levels.reduce((last, level) => {
    if (level > last + 1) faults.push(`a heading of level ${level} follows one of ${last}`);
    return level;
  }, 0);
  if (!document.documentElement.lang) faults.push('the page names no language');
  return faults;
}"""
)

_STOPS = (
    "() => {"
    + _SHARED
    + """
  const kinds = 'button, a[href], input:not([type=hidden]):not([type=file]), textarea';
  const main = document.querySelector('[data-testid=stMain]');
  const groups = [...main.querySelectorAll('[role=radiogroup], [role=toolbar], [role=tablist]')];
  // Tab comes to a group once; in it, arrow keys go on.
  const own = e => groups.findIndex(group => group.contains(e));
  const found = [...main.querySelectorAll(kinds)]
    .filter(e => shown(e) && !e.disabled && e.tabIndex >= 0);
  const names = [];
  for (const e of found) {
    const group = own(e);
    const stop = group < 0 ? `${names.length}` : `group ${group}`;
    e.dataset.stop = stop;
    names.push([stop, nameOf(e)]);
  }
  return names;
}"""
)

_HERE = """() => {
  const e = document.activeElement;
  return e && e !== document.body ? (e.dataset.stop ?? 'elsewhere') : '';
}"""


def faults(page: Page) -> list[str]:
    """What is wrong for somebody who hears the page; each with the place."""
    return [str(fault) for fault in page.evaluate(_FAULTS)]


def unreachable(page: Page) -> list[str]:
    """Names of what the Tab key does not come to, pressed until it has gone all round."""
    stops = page.evaluate(_STOPS)
    reached: set[str] = set()
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")  # from the very top
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        here = page.evaluate(_HERE)
        if not here and reached:
            break
        reached.add(here)
    return [name for stop, name in stops if stop not in reached]
