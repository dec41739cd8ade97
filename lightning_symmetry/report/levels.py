"""The table, the page and the files on what training left of each symmetry."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from lightning_symmetry.archive import writing_into
from lightning_symmetry.discovery.level import (
    LEVELS,
    SymmetryLevel,
    conclude_levels,
    lay_out_levels,
    rank_correlation,
    save_levels,
)
from lightning_symmetry.report.markup import (
    write_definitions,
    write_figure,
    write_list,
    write_section,
    write_table,
)
from lightning_symmetry.report.page import write_document
from lightning_symmetry.report.pictures import Picture, render
from lightning_symmetry.report.strengths import draw_levels
from lightning_symmetry.report.tables import WIDE, format_table

_TABLE, _PICTURE, _PAGE = "levels.csv", "levels.png", "levels.html"
_DPI = 130
_TITLE = "symmetries at the end of training"
_READING = (
    ("level", "error / null: 0 for an exact symmetry, 100% where answers have nothing in common"),
    (
        "error",
        "mean of |f(gx) - g f(x)| / (|f(gx)| + |g f(x)|) on inputs that were kept aside, with its standard error",
    ),
    ("null", "the same between samples that do not belong together"),
    ("floor", "what carrying samples there and back costs by itself"),
    ("loss", "what was penalised, at the end"),
    ("strength", "of the loss at the end; beside it the first that was not 0"),
    ("multiplier", "of the constraint: what loosening it would gain the task, in units of its first loss"),
    ("slack", "by how much the loss is above what is allowed"),
    ("relaxed", "by how much what is allowed had to be raised"),
    ("exact, approximate", "said of the network; what they say of the data, the notes tell"),
    ("broken", "above half of the null, or given up by the strengths"),
    ("infeasible", "the constraint was violated at the end"),
)


def print_levels(levels: Sequence[SymmetryLevel], folder: str | Path | None = None, file: TextIO | None = None) -> None:
    """Print the table, the notes, the conclusion, and where the report lies.

    Args:
        levels: One a symmetry.
        folder: Of the written report, if any.
        file: Where to print; standard output by default.
    """
    file = file or sys.stdout
    styled = file.isatty()
    width = shutil.get_terminal_size((WIDE, 24)).columns if styled else None
    header, rows = lay_out_levels(levels)
    print("", file=file)
    print(format_table(header, rows, _TITLE, styled, width), file=file)
    for line in [*_list_notes(levels), *_list_facts(levels), conclude_levels(levels)]:
        print(line, file=file)
    if folder is not None:
        print(f"report: {folder}", file=file)


def write_levels(
    levels: Sequence[SymmetryLevel], curves: Mapping[str, Sequence[float]] | None, folder: str | Path
) -> Path:
    """Write ``levels.json``, ``levels.csv``, ``levels.html`` and, with matplotlib, ``levels.png``.

    ``levels.json`` holds the curves too, and is read by `load_levels`. ``levels.html`` is one file that needs no other.

    Args:
        levels: One a symmetry.
        curves: Over training, see `judge_levels`.
        folder: Made if missing.

    Returns:
        The folder.

    Raises:
        InvalidSetting: It cannot be written.
    """
    save_levels(levels, folder, curves)
    picture = _draw(levels, curves or {})
    with writing_into(folder) as place:
        rows = [{**level.to_dict(), "level": level.level, "notes": "; ".join(level.notes)} for level in levels]
        names = [field.name for field in dataclasses.fields(SymmetryLevel)]
        names.insert(names.index("error"), "level")
        with (place / _TABLE).open("w", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, names).writerows([dict(zip(names, names, strict=True)), *rows])
        if picture is None:
            (place / _PICTURE).unlink(missing_ok=True)
        else:
            (place / _PICTURE).write_bytes(picture.png)
        (place / _PAGE).write_text(write_levels_page(levels, picture), encoding="utf-8")
        return place


def write_levels_page(levels: Sequence[SymmetryLevel], picture: Picture | None = None) -> str:
    """Write the report as one HTML document that loads nothing.

    Args:
        levels: One a symmetry.
        picture: Of the strengths, if there is one.

    Returns:
        The document.
    """
    header, rows = lay_out_levels(levels)
    words = {*header, *(level.verdict for level in levels)}
    table = write_table("Measured on inputs that were kept aside.", header, rows)
    notes = _list_notes(levels)
    sentences = write_definitions((level.name, level.sentence) for level in levels)
    reading = write_definitions((term, text) for term, text in _READING if words & set(term.split(", ")))
    parts = [
        write_section("Levels", table, write_list(_list_facts(levels)) if _list_facts(levels) else ""),
        f'<div class="notes">{write_list(notes)}</div>' if notes else "",
        write_section("Course of the training", write_figure(picture)) if picture else "",
        write_section("Symmetries", sentences),
        write_section("How to read it", reading),
    ]
    verdicts = [(level.verdict, f"{level.name}: {level.words}") for level in levels]
    footer = f"Beside this page, <code>{LEVELS}</code> has the numbers and the curves, <code>{_TABLE}</code> the table."
    return write_document(_TITLE, conclude_levels(levels), verdicts, parts, footer)


def _draw(levels: Sequence[SymmetryLevel], curves: Mapping[str, Sequence[float]]) -> Picture | None:
    figure = draw_levels(levels, curves)
    if figure is None:
        return None
    caption = (
        "Strengths and losses over training, a line a symmetry, and the level of each at the end with two standard "
        "errors either way. A dashed line marks where strengths were adjusted."
    )
    alt = f"Curves of strengths and of losses, and dots for the levels. {conclude_levels(levels)}"
    return Picture(_PICTURE, caption, alt, render(figure, _DPI))


def _list_notes(levels: Sequence[SymmetryLevel]) -> list[str]:
    """One line for everything that is noted, with the names of all that it is noted of."""
    named: dict[str, list[str]] = {}
    for level in levels:
        for note in level.notes:
            named.setdefault(note, []).append(level.name)
    return [f"{', '.join(names)}: {note}" for note, names in named.items()]


def _list_facts(levels: Sequence[SymmetryLevel]) -> list[str]:
    """What concerns all of them together."""
    ranks = rank_correlation(levels)
    if ranks is None:
        return []
    wanted = (
        "1 where multipliers grow with"
        if any(level.dual is not None for level in levels)
        else "-1 where they fall with"
    )
    return [f"rank correlation of levels and strengths: {ranks:.2f} ({wanted} what does not hold)"]
