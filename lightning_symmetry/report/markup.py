"""Pieces of an HTML page: text that is safe, tables, definitions, pictures."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence

from lightning_symmetry.report.pictures import Picture
from lightning_symmetry.report.tables import is_number

_TAGS = str.maketrans({"\ue000": "<sub>", "\ue001": "</sub>", "\ue002": "<sup>", "\ue003": "</sup>"})
_HOLDING = ("accepted", "declared", "symmetric", "exact")


def escape(text: str) -> str:
    """Make text safe inside an element or a quoted attribute."""
    return html.escape(text, quote=True)


def write_math(formula: str) -> str:
    """Write a formula such as "x^2 d/dx - y d/dy" with real symbols.

    Example:
        >>> write_math("x^2 d/dx - y d/dy")
        'x<sup>2</sup> ∂<sub>x</sub> − y ∂<sub>y</sub>'
        >>> write_math("X2 + x0")
        'X<sub>2</sub> + x<sub>0</sub>'
    """
    # private characters stand for tags until the text is safe
    text = re.sub(r"\bd/d(\w+)", "\u2202\ue000\\1\ue001", formula.replace("-", "\u2212"))
    text = re.sub(r"\b([A-Za-z])(\d+)", "\\1\ue000\\2\ue001", re.sub(r"\^(\w+)", "\ue002\\1\ue003", text))
    return escape(text).translate(_TAGS)


def write_table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], formulas: Iterable[str] = (), style: str = ""
) -> str:
    """Write a table; columns of numbers are set flush right.

    Args:
        caption: What the table is of.
        header: Names of the columns.
        rows: Cells as text.
        formulas: Names of the columns that hold formulas, in their heads too.
        style: Class of the table.

    Returns:
        HTML.
    """
    kinds = [
        "formula" if name in formulas else "number" if _are_numbers([row[i] for row in rows]) else ""
        for i, name in enumerate(header)
    ]

    def cell(tag: str, kind: str, text: str, more: str = "") -> str:
        inside = write_math(text) if kind == "formula" else escape(text)
        named = f' class="{kind}"' if kind and (tag == "td" or kind == "number") else ""
        return f"<{tag}{named}{more}>{inside}</{tag}>"

    head = "".join(cell("th", kind, name, ' scope="col"') for kind, name in zip(kinds, header, strict=True))
    lines = [
        ('<tr class="holds">' if row[-1] in _HOLDING else "<tr>")
        + "".join(cell("td", kind, text) for kind, text in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    ]
    named = f' class="{style}"' if style else ""
    return "\n".join(
        [
            f'<div class="scroll"><table{named}><caption>{escape(caption)}</caption>',
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
        ]
    )


def write_section(title: str, *parts: str) -> str:
    """Write a section under a heading; parts that are empty are left out."""
    return "\n".join(["<section>", f"<h2>{escape(title)}</h2>", *[part for part in parts if part], "</section>"])


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


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers or intervals, and nothing else."""
    filled = [cell for cell in cells if cell not in ("", "-")]
    return bool(filled) and all(is_number(part) for cell in filled for part in cell.split(" to "))
