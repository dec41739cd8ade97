"""Tables for terminals: by rich where it is installed, aligned plain text otherwise."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from lightning_symmetry.discovery import Discovery, LearntLaw
from lightning_symmetry.discovery.layout import align_columns

_STYLES = {
    "accepted": "green",
    "symmetric": "green",
    "spare": "dim",
    "violated": "dim",
    "absent": "yellow",
    "undecided": "yellow",
    "exact": "green",
    "approximate": "cyan",
    "broken": "dim",
    "infeasible": "yellow",
}
# Where the output is no terminal, nothing should be wrapped.
WIDE = 160


def format_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
    styled: bool = False,
    width: int | None = None,
) -> str:
    """Format a table.

    Args:
        header: Names of the columns.
        rows: Cells, every row as long as the header.
        title: A line above.
        styled: Colour verdicts by terminal codes (with rich only).
        width: Characters a line; by default wide enough for files.

    Returns:
        Lines of text, ending in a line break.

    Example:
        >>> "rotation" in format_table(["reads as", "norm"], [["rotation", "2.2"]])
        True
    """
    if find_spec("rich") is None:
        lines = ([title] if title else []) + [align_columns([header, *rows])]
        return "\n".join(lines) + "\n"
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=SIMPLE_HEAD,
        title=None if title is None else Text(title),
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    for name in header:
        table.add_column(Text(name), justify="right" if name in _numeric(header, rows) else "left")
    for row in rows:
        table.add_row(*map(Text, row), style=_STYLES.get(row[-1]))
    sink = io.StringIO()
    Console(file=sink, width=width or WIDE, force_terminal=styled, no_color=not styled).print(table)
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()).strip("\n") + "\n"


def print_discovery(
    discovery: Discovery | LearntLaw, folder: str | Path | None = None, file: TextIO | None = None
) -> None:
    """Print the table, what concerns all generators, the conclusion, and where the report lies.

    Args:
        discovery: What was found, or a learnt law.
        folder: Of the written report, if any.
        file: Where to print; standard output by default.
    """
    file = file or sys.stdout
    styled = file.isatty()
    header, rows = discovery.rows()
    width = None
    if styled:
        width = shutil.get_terminal_size((WIDE, 24)).columns
    print("", file=file)
    source = f"{discovery.held_out} data" if isinstance(discovery, Discovery) else "the law that training settled on"
    print(format_table(header, rows, f"{discovery.name} ({source})", styled, width), file=file)
    for line in [*discovery.facts(), discovery.conclusion, *discovery.notes]:
        print(line, file=file)
    if folder is not None:
        print(f"report: {folder}", file=file)


def _numeric(header: Sequence[str], rows: Sequence[Sequence[str]]) -> set[str]:
    """Columns of numbers only."""
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    return {name for name, cells in columns.items() if all(cell == "-" or is_number(cell) for cell in cells)}


def is_number(cell: str) -> bool:
    """Whether a cell is a number, or a share in per cent."""
    try:
        float(cell.removeprefix("<").removesuffix("%"))
    except ValueError:
        return False
    return True
