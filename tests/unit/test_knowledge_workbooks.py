"""Workbooks of other programs, and the desk's own in another program's hands."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from datetime import date
from typing import Any

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from services.core.errors import Invalid
from services.knowledge.document import Kind, Row, to_rows
from services.knowledge.exchange import formats, xlsx_preflight, xlsx_reading, xlsx_writing
from services.knowledge.exchange.cells import KEY, Column
from services.knowledge.exchange.model import Format, ReadFile
from services.knowledge.exchange.table_writing import WrittenTable
from services.knowledge.exchange.xlsx_text import MAX_CELL, pieces
from services.knowledge.shapes import NotImportable
from tests.knowledge_base import small_kb
from tests.unit.test_knowledge_formats import document_of, exactly

NAMESPACE = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
HEAD = b"<worksheet " + NAMESPACE + b"><sheetData>"
HEADINGS = (
    b'<row r="1"><c t="inlineStr"><is><t>key</t></is></c>'
    b'<c t="inlineStr"><is><t>text</t></is></c></row>'
)


def saved(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def made(title: str, *rows: list[Any]) -> tuple[openpyxl.Workbook, Worksheet]:
    book = openpyxl.Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = title
    for row in rows:
        sheet.append(row)
    return book, sheet


def read(book: openpyxl.Workbook) -> ReadFile:
    return formats.read("from_excel.xlsx", saved(book))


def own(document: dict[str, Any]) -> bytes:
    return formats.write(to_rows(document), Format.XLSX)[2]


def with_member(name: str, data: bytes, book: bytes | None = None) -> bytes:
    """A workbook of the desk's own with another member in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book or own({}))) as old, zipfile.ZipFile(out, "w", 8) as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        new.writestr(name, data)
    return out.getvalue()


def test_another_program_sees_texts_alone_in_sheets_made_for_people() -> None:
    kb = small_kb()
    kb["fabric_guide"]["linen"]["care"] = "=1+1"
    book = openpyxl.load_workbook(io.BytesIO(own(kb)))
    assert book.sheetnames == [
        "Colours, By colour", "Style advice", "Occasions", "Fabrics", "Styles, Necklines",
        "Styles, Dress features", "Outfit formulas, By category", "Everything else",
    ]  # fmt: skip
    sheet = book["Fabrics"]
    assert [cell.value for cell in sheet[2]][:3] == ["linen", "Cool and crisp.", "=1+1"]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s"}
    assert {cell.number_format for row in sheet.iter_rows() for cell in row} == {"@"}
    assert sheet.freeze_panes == "B2"
    assert sheet["B2"].alignment.wrap_text
    assert sheet.column_dimensions["B"].width > 40


def test_a_workbook_that_another_program_saved_anew_says_the_same() -> None:
    kb = small_kb() | {"mine": {"a": [1, {"b": None}], "c": {}, "d": "two\nlines\t\U0001f600"}}
    book = openpyxl.load_workbook(io.BytesIO(own(kb)))
    book.move_sheet("Everything else", -7)
    file = read(book)
    assert file.faults == ()
    assert file.whole
    assert exactly(document_of(file)) == exactly(kb)


TYPED: dict[str, tuple[Any, str | None]] = {
    # what stands in the cell: the text it gives, or None for a fault
    "a number": (1200, "1200"),
    "a large number": (123456789012345, "123456789012345"),
    "a fraction": (0.5, "0.5"),
    "a fraction as programs keep it": (0.1 + 0.2, "0.3"),
    "a number that was rounded": (0.12345678901234567, None),
    "a number beyond what is kept": (12345678901234567890, None),
    "a date": (date(2024, 1, 31), None),
    "true": (True, "TRUE"),
    "a formula": ("=1+1", None),
    "an error": ("#N/A", None),
}


@pytest.mark.parametrize("case", TYPED)
def test_what_a_spreadsheet_program_made_of_a_cell_is_taken_exactly_or_refused(case: str) -> None:
    value, text = TYPED[case]
    file = read(made("Occasions", ["key", "text"], ["ok", "a"], ["x", value])[0])
    found = document_of(file)["occasions"]
    if text is not None:
        assert found == {"ok": "a", "x": text}
        assert file.faults == ()
        assert bool(file.notes) is (value is not True)
        return
    (fault,) = file.faults
    assert found == {"ok": "a"}
    assert (fault.at.sheet, fault.at.row, fault.at.column) == ("Occasions", 3, "text")
    assert fault.key == "x"
    assert fault.fix
    assert file.tables == ()


def test_merged_cells_hidden_sheets_and_empty_rows_are_read_and_said() -> None:
    book, sheet = made("Occasions", [], ["key", "text"], [], ["a", "one"], ["b", "two"])
    sheet.merge_cells("B4:B5")
    sheet.sheet_state = "hidden"
    book.create_sheet("Empty")
    file = read(book)
    rows = {row.key: row for row in file.rows if row.at.row}
    assert rows["a"].body == "one"
    assert rows["b"].blank == {"text"}
    assert (rows["a"].at.row, rows["b"].at.row) == (4, 5)
    assert any("merged" in note for note in file.notes)
    assert any("hidden" in note for note in file.notes)


def test_parts_that_are_not_read_may_say_what_they_like() -> None:
    book = own({"occasions": {"a": "b"}})
    for name, inner in {
        "xl/calcChain.xml": b'<c r="B9" i="1"/><c r="A1"/>',
        "xl/externalLinks/externalLink1.xml": b'<row r="9"/><row r="1"/>',
        "xl/pivotCache/pivotCacheRecords1.xml": b"<r><x/></r>" * xlsx_preflight.MAX_AT_ONCE,
    }.items():
        book = with_member(name, b"<whole " + NAMESPACE + b">" + inner + b"</whole>", book)
    book = with_member("xl/drawings/vmlDrawing1.vml", b"<xml><br></xml>", book)
    book = with_member("xl/media/image1.png", b"\x89PNG\r\n", book)
    assert document_of(formats.read("kb.xlsx", book)) == {"occasions": {"a": "b"}}


def test_a_sheet_that_is_no_table_is_told_and_the_others_are_read() -> None:
    book, _sheet = made("Occasions", ["key", "text"], ["a", "one"])
    book.create_sheet("Notes").append(["Remember the milk"])
    file = read(book)
    (fault,) = file.faults
    assert fault.at.sheet == "Notes"
    assert document_of(file) == {"occasions": {"a": "one"}}
    assert not file.whole
    book.remove(book["Occasions"])
    with pytest.raises(NotImportable, match="heading key"):
        read(book)


def with_strings(strings: bytes, *rows: tuple[int, ...]) -> bytes:
    """A workbook whose cells share texts."""
    lines = ["".join(f'<c t="s"><v>{number}</v></c>' for number in row) for row in rows]
    cells = "".join(f"<row>{line}</row>" for line in lines)
    book = with_member("xl/sharedStrings.xml", b"<sst " + NAMESPACE + b">" + strings + b"</sst>")
    kinds = zipfile.ZipFile(io.BytesIO(book)).read("[Content_Types].xml")
    if b"/xl/sharedStrings.xml" not in kinds:
        shared = b'<Override PartName="/xl/sharedStrings.xml" ContentType="%s.sharedStrings+xml"/>'
        shared %= b"application/vnd.openxmlformats-officedocument.spreadsheetml"
        kinds = kinds.replace(b"</Types>", shared + b"</Types>")
        book = with_member("[Content_Types].xml", kinds, book)
    sheet = HEAD + cells.encode() + b"</sheetData></worksheet>"
    return with_member("xl/worksheets/sheet1.xml", sheet, book)


def test_rich_text_pronunciations_and_shared_texts_give_the_text_that_is_seen() -> None:
    book = with_strings(
        b"<si><r><t>key</t></r></si><si><t>text</t></si>"
        b'<si><r><rPr><b/></rPr><t xml:space="preserve">so </t></r><r><t/></r><r><t>bold</t></r>'
        b'<rPh sb="0" eb="1"><t>zo</t></rPh></si><si><t>_x000D_ _xD83D__xDE00_</t></si>',
        (0, 1),
        (2, 3),
    )
    file = formats.read("occasions.xlsx", book)
    assert document_of(file) == {"occasions": {"so bold": "\r \U0001f600"}}


@pytest.mark.parametrize(
    "text", ["_x000D_", "x005F_", "<r><t>a</t></r>", "a\r\n_x0041_", "(exact) 1"]
)
def test_a_text_like_a_spelling_of_the_format_survives_another_program(text: str) -> None:
    kb = {"occasions": {"a": text, text: "b", "long": (text + "\U0001f600") * 5_000}}
    assert document_of(formats.read("kb.xlsx", own(kb))) == kb
    saved_anew = read(openpyxl.load_workbook(io.BytesIO(own(kb))))
    assert document_of(saved_anew) == kb
    typed = "(exact) \"somebody's own"
    assert document_of(read(made("Occasions", ["key", "text"], ["a", typed])[0])) == {
        "occasions": {"a": typed}
    }


def _bomb(start: bytes, again: bytes, times: int) -> bytes:
    return with_member("xl/worksheets/sheet1.xml", HEAD + HEADINGS + start + again * times)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no file": (lambda: b"", "not an .xlsx"),
    "an archive of something else": (lambda: _archive("a.txt", b"x"), "not an .xlsx"),
    "a password, or an old file": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "password"),
    "macros": (lambda: with_member("xl/vbaProject.bin", b"x"), "macros"),
    "entities": (
        lambda: with_member(
            "xl/worksheets/sheet1.xml",
            b'<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]>' + HEAD + b"&b;",
        ),
        "document type",
    ),
    "a file from outside": (
        lambda: with_member(
            "xl/workbook.xml", b'<!DOCTYPE l SYSTEM "file:///etc/passwd"><workbook/>'
        ),
        "document type",
    ),
    "more than anybody unpacks": (
        lambda: with_member("xl/media.bin", bytes(xlsx_preflight.MAX_UNPACKED)),
        "unfolds",
    ),
    "endless depth": (lambda: _bomb(b"", b"<c>", 1000), "unfolds"),
    "a text without end": (
        lambda: _bomb(b"<row><c><v>", b"x" * 1000, 2000),
        "unfolds",
    ),
    "one text in every cell": (
        lambda: with_strings(
            b"<si><t>key</t></si><si><t>" + b"x" * 30_000 + b"</t></si>",
            (0,),
            *[(1,)] * 2000,
        ),
        "unfolds",
    ),
    "a tag without end": (lambda: _bomb(b'<row a="', b"x" * 1000, 4000), "unfolds"),
    "cells far to the right": (
        lambda: _bomb(b"", b'<row><c r="XFD1"><v>1</v></c></row>', 3000),
        "unfolds",
    ),
    "a cell that can't be": (lambda: _bomb(b"", b'<row><c r="ZZZZ1"><v>1</v></c></row>', 1), "not"),
    "a text that is not there": (lambda: _sheet(b'<row><c t="s"><v>7</v></c></row>'), "not an"),
    "rows out of order": (lambda: _sheet(b'<row r="9"/><row r="3"/>'), "not in order"),
    "a row beyond the last": (lambda: _sheet(b'<row r="99999999"/>'), "not in order"),
    "cells out of order": (lambda: _sheet(b'<row><c r="B2"/><c r="A2"/></row>'), "not in order"),
    "a row without end": (lambda: _bomb(b"<row>", b"<c/>", 20_000), "not in order"),
    "what is no row, without end": (lambda: _bomb(b"", b"<a/>", 200_000), "unfolds"),
    "formulas without end": (
        lambda: _bomb(b"", b'<row><c><f t="shared">' + b"1+" * 500 + b"1</f></c></row>", 5000),
        "unfolds",
    ),
    "a style sheet like a sheet": (
        lambda: with_member(
            "xl/styles.xml", HEAD + b"<row/>" * 200_000 + b"</sheetData></worksheet>"
        ),
        "unfolds",
    ),
    "a sheet that is none": (
        lambda: with_member("xl/worksheets/sheet1.xml", b"<calcChain " + NAMESPACE + b"/>"),
        "not an .xlsx",
    ),
    "a sheet that is not there": (lambda: _without("xl/worksheets/sheet1.xml"), "not an .xlsx"),
    "another dialect": (
        lambda: with_member(
            "xl/workbook.xml", b'<workbook xmlns="http://purl.oclc.org/ooxml/spreadsheetml/main"/>'
        ),
        "Strict",
    ),
    "a type of document in another encoding": (
        lambda: with_member(
            "docProps/core.xml", "<!DOCTYPE l [<!ENTITY a 'lol'>]><l>&a;</l>".encode("utf-16")
        ),
        "document type",
    ),
    "a size that is a lie": (lambda: _lying(own(small_kb())), "damaged"),
    "half a sheet": (lambda: with_member("xl/worksheets/sheet1.xml", HEAD[:-9]), "damaged"),
    "half a file": (lambda: own(small_kb())[:3000], "not an .xlsx"),
}  # fmt: skip


def _sheet(rows: bytes) -> bytes:
    return with_member("xl/worksheets/sheet1.xml", HEAD + rows + b"</sheetData></worksheet>")


def _without(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(own({}))) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
    return out.getvalue()


def _lying(book: bytes) -> bytes:
    """A workbook that calls its largest member short."""
    with zipfile.ZipFile(io.BytesIO(book)) as opened:
        size = max(info.file_size for info in opened.infolist())
    return book.replace(struct.pack("<I", size), struct.pack("<I", 10))


def _archive(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("case", HOSTILE)
def test_a_workbook_that_means_harm_is_refused_in_words(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx_preflight, "MAX_UNPACKED", 5_000_000)
    monkeypatch.setattr(xlsx_reading, "MAX_CHARACTERS", 50_000_000)
    build, said = HOSTILE[case]
    with pytest.raises(NotImportable, match=said) as refused:
        formats.read("kb.xlsx", build())
    assert refused.value.hint


@pytest.mark.parametrize("name", ["kb.xlsm", "kb.xls", "kb.ods"])
def test_other_kinds_of_workbooks_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(NotImportable) as refused:
        formats.read(name, own(small_kb()))
    assert "save it as .xlsx" in refused.value.hint


def test_a_text_beyond_a_cell_stands_in_columns_that_say_so() -> None:
    long = "word " * 15_000 + "\U0001f600" * 12_000
    data = own({"occasions": {"a": long, "b": "short"}})
    sheet = openpyxl.load_workbook(io.BytesIO(data))["Occasions"]
    headings = [cell.value for cell in sheet[1]]
    assert headings == [
        "key",
        "text",
        "continued 2: text",
        "continued 3: text",
        "continued 4: text",
    ]
    assert document_of(formats.read("kb.xlsx", data)) == {"occasions": {"a": long, "b": "short"}}
    for text in (long, "\U0001f600" * 50_000, "x" * MAX_CELL, "x" * (MAX_CELL + 1)):
        cut = pieces(text)
        assert "".join(cut) == text
        assert all(len(piece.encode("utf-16-le")) <= 2 * MAX_CELL for piece in cut)


def test_more_rows_than_a_sheet_has_are_refused_and_not_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(xlsx_writing, "MAX_ROWS", 3)
    table = WrittenTable("Occasions", (Column(KEY, False),), [("a",), ("b",)])
    assert xlsx_writing.write_xlsx([table])
    table.rows.append(("c",))
    with pytest.raises(Invalid, match="room for 2 rows") as refused:
        xlsx_writing.write_xlsx([table])
    assert "CSV" in refused.value.hint


def test_a_part_nobody_registered_gets_a_sheet_whose_name_excel_takes() -> None:
    strange = "[a]:*?/\\'" + "x" * 60
    name, _mime, data = formats.write(
        [Row("", strange, Kind.TEXT, "b", 0)], Format.XLSX, part="/" + strange.replace("/", "~1")
    )
    (title,) = openpyxl.load_workbook(io.BytesIO(data)).sheetnames
    assert len(title) <= 31
    assert not set(title) & set("[]:*?/\\")
    assert document_of(formats.read(name, data)) == {strange: "b"}
