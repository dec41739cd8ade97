"""Plain-text tables."""

from __future__ import annotations

from collections.abc import Sequence


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Align the columns of a table whose first row is the header.

    Args:
        rows: Cells; every row as long as the first.

    Returns:
        Lines of text, without trailing blanks.

    Example:
        >>> print(align_columns([["name", "norm"], ["rotation", "2.2"]]))
        name      norm
        --------  ----
        rotation  2.2
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in ruled)
