"""Pieces of an HTML page: text that is safe, tables, definitions, pictures."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence

from lightning_symmetry.report.pictures import Picture
from lightning_symmetry.report.tables import is_number

_HOLDING = ("accepted", "declared", "symmetric")


def escape(text: str) -> str:
    """Make text safe inside an element or a quoted attribute."""
    return html.escape(text, quote=True)


def write_math(formula: str) -> str:
    """Write a formula such as "x^2 d/dx - y d/dy" with real symbols.

    Example:
        >>> write_math("x^2 d/dx - y d/dy")
        'x<sup>2</sup> ∂<sub>x</sub> − y ∂<sub>y</sub>'
    """
    text = re.sub(r"\^(\w+)", r"<sup>\1</sup>", escape(formula).replace("-", "\u2212"))
    return re.sub(r"\bd/d(\w+)", "\u2202<sub>\\1</sub>", text)


def write_table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], formulas: Iterable[str] = ()
) -> str:
    """Write a table; columns of numbers are set flush right.

    Args:
        caption: What the table is of.
        header: Names of the columns.
        rows: Cells as text.
        formulas: Names of the columns that hold formulas.

    Returns:
        HTML.
    """
    kinds = [
        "formula" if name in formulas else "number" if rows and all(_looks_numeric(row[i]) for row in rows) else ""
        for i, name in enumerate(header)
    ]

    def cell(tag: str, kind: str, text: str, more: str = "") -> str:
        inside = write_math(text) if kind == "formula" and tag == "td" else escape(text)
        named = f' class="{kind}"' if kind and (tag == "td" or kind == "number") else ""
        return f"<{tag}{named}{more}>{inside}</{tag}>"

    head = "".join(cell("th", kind, name, ' scope="col"') for kind, name in zip(kinds, header, strict=True))
    lines = [
        ('<tr class="holds">' if row[-1] in _HOLDING else "<tr>")
        + "".join(cell("td", kind, text) for kind, text in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    ]
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def write_definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Write terms and what they are."""
    return "<dl>\n" + "\n".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in pairs) + "\n</dl>"


def write_list(lines: Iterable[str]) -> str:
    """Write lines as a list."""
    return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"


def write_figure(picture: Picture) -> str:
    """Embed a picture with its caption and its description."""
    data = base64.b64encode(picture.png).decode("ascii")
    return (
        f'<figure><img alt="{escape(picture.alt)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _looks_numeric(cell: str) -> bool:
    """Whether a cell belongs in a column of numbers: a number, an interval, or nothing."""
    return cell in ("", "-") or all(is_number(part) for part in cell.strip("[]").replace(" to ", ", ").split(", "))
