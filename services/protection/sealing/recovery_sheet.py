"""A sheet of paper that brings the shop back: the identity, and what to type with it.

One self-contained page for A4, black on white, without scripts, pictures or anything that is
loaded from elsewhere.
"""

from __future__ import annotations

import html as escaping
import shlex
from dataclasses import dataclass, field
from datetime import datetime

_GROUP = 4
_GROUPS_IN_A_LINE = 8
_PREFIX = "AGE-SECRET-KEY-1"


@dataclass(frozen=True)
class Sheet:
    """What stands on it."""

    instance: str
    store_url: str  # without secrets
    endpoint: str  # of a server that is not AWS; may be empty
    recipient: str
    identity: str = field(repr=False)
    checksum: str
    role: str  # "operator" or "recovery"
    made_at: datetime


def html(sheet: Sheet) -> str:
    """The page."""
    text = escaping.escape
    return _PAGE.format(
        title=f"Recovery sheet: {text(sheet.instance)}",
        instance=text(sheet.instance),
        store=text(sheet.store_url),
        role=text(sheet.role),
        date=f"{sheet.made_at:%d %B %Y, %H:%M} UTC",
        recipient=text(sheet.recipient),
        identity=text(sheet.identity),
        groups=_groups(sheet.identity),
        checksum=" ".join(_cut(sheet.checksum)),
        recover=text(_recover(sheet)),
        by_hand=text(_BY_HAND),
    )


def _cut(text: str) -> list[str]:
    return [text[at : at + _GROUP] for at in range(0, len(text), _GROUP)]


def _groups(identity: str) -> str:
    """The part that differs, four characters at a time in numbered lines."""
    groups = _cut(identity.removeprefix(_PREFIX))
    lines = []
    for at in range(0, len(groups), _GROUPS_IN_A_LINE):
        line = groups[at : at + _GROUPS_IN_A_LINE]
        line += [""] * (_GROUPS_IN_A_LINE - len(line))
        cells = "".join(f"<td>{escaping.escape(group)}</td>" for group in line)
        lines.append(f"<tr><th>{at // _GROUPS_IN_A_LINE + 1}</th>{cells}</tr>")
    return "\n".join(lines)


def _recover(sheet: Sheet) -> str:
    lines = ["export BACKUP_AGE_IDENTITY_FILE=$PWD/identity.txt"]
    if sheet.store_url.startswith("s3://"):
        lines.append("export AWS_ACCESS_KEY_ID=...  AWS_SECRET_ACCESS_KEY=...  AWS_REGION=...")
        if sheet.endpoint:
            lines.append(f"export AWS_ENDPOINT_URL_S3={shlex.quote(sheet.endpoint)}")
    lines.append(
        f"python services/restore.py --from {shlex.quote(sheet.store_url)} \\\n"
        f"    --fresh --instance {shlex.quote(sheet.instance)}"
    )
    return "\n".join(lines)


_BY_HAND = """age -d -i identity.txt -o database.sqlite3.zst database.sqlite3.zst.age
zstd -d database.sqlite3.zst"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
@page {{ size: A4; margin: 16mm 18mm; }}
* {{ box-sizing: border-box; }}
html {{ background: #fff; color: #000; color-scheme: light; }}
body {{ font: 10.5pt/1.45 Georgia, "Times New Roman", serif; max-width: 174mm; margin: 8mm auto; }}
h1 {{ font-size: 20pt; line-height: 1.15; margin: 0 0 1mm; }}
h2 {{ font-size: 11.5pt; margin: 5.5mm 0 1.5mm; padding-bottom: .8mm;
  border-bottom: .4pt solid #000; }}
p {{ margin: 0 0 2mm; }}
code, pre, .key, .groups {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
pre {{ font-size: 8.8pt; line-height: 1.5; margin: 0 0 2mm; padding: 2mm 3mm;
  border: .4pt solid #000; white-space: pre-wrap; overflow-wrap: anywhere; }}
dl {{ display: grid; grid-template-columns: 30mm 1fr; gap: .6mm 4mm; margin: 3mm 0 0; }}
dt {{ font-style: italic; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
dd code {{ font-size: 9pt; }}
.key {{ font-size: 10pt; font-weight: bold; border: 1.2pt solid #000; padding: 3mm;
  margin: 0 0 3mm; overflow-wrap: anywhere; text-align: center; }}
.groups {{ border-collapse: collapse; font-size: 12.5pt; margin: 0 0 2mm; }}
.groups td, .groups th {{ padding: .5mm 2.6mm; border-bottom: .3pt solid #000; }}
.groups th {{ font: italic 9.5pt Georgia, serif; padding-left: 0; }}
.lines {{ display: grid; grid-template-columns: 1fr 1fr; gap: 9mm 12mm; margin-top: 16mm; }}
.lines div {{ border-top: .4pt solid #000; padding-top: 1mm; font-size: 9pt; }}
h2, pre, .key, .groups, .lines {{ break-inside: avoid; break-after: auto; }}
h2 {{ break-after: avoid; }}
@media print {{ body {{ margin: 0; max-width: none; }} }}
</style>
</head>
<body>
<h1>Recovery sheet</h1>
<p>This paper opens every backup of the shop <b>{instance}</b> that was encrypted for the key
below. Keep it where only those can reach it who may read the whole shop: a safe, or a bank.
Whoever copies it can do the same. Print it, then delete the file.</p>
<dl>
<dt>Backups lie in</dt><dd><code>{store}</code></dd>
<dt>Key</dt><dd>{role} key, made {date}</dd>
<dt>Public half</dt><dd><code>{recipient}</code></dd>
</dl>

<h2>The secret half</h2>
<p class="key">{identity}</p>
<p>To type it: <code>AGE-SECRET-KEY-1</code>, then these, without spaces. After that first 1 there
is no 1, B, I or O any more: what looks like O is the digit 0.</p>
<table class="groups">
{groups}
</table>

<h2>1. Put it into a file, and check it</h2>
<pre>touch identity.txt &amp;&amp; chmod 600 identity.txt
# write the line that begins with AGE-SECRET-KEY-1 into it, then:
tr -d '[:space:]' &lt; identity.txt | sha256sum | cut -c1-16</pre>
<p>It has to answer <b><code>{checksum}</code></b> (without the spaces).</p>

<h2>2. Bring everything back, with the desk</h2>
<p>On a machine with the desk's program (its README says how to install it), in its folder:</p>
<pre>{recover}</pre>

<h2>3. Or without it</h2>
<p>Copy the folder <code>data/{instance}/</code> of the newest day out of the store. The programs
<code>age</code> and <code>zstd</code> open what is in it; the file below
<code>manifests/{instance}/</code> says for every object with which command:</p>
<pre>{by_hand}</pre>

<div class="lines">
<div>Checked against the file and printed by, date</div>
<div>Sealed and put away by, place, date</div>
</div>
</body>
</html>
"""
