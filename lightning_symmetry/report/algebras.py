"""The card of a Lie algebra: its name, the brackets of a readable basis, and the Killing form."""

from __future__ import annotations

import textwrap
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.discovery.nature import Algebra
from lightning_symmetry.discovery.printing import snap
from lightning_symmetry.functional.brackets import bracket_fields, commutators
from lightning_symmetry.functional.polynomials import degree_of, list_monomials
from lightning_symmetry.report.formulas import to_mathtext, write_field
from lightning_symmetry.report.palette import DIVERGING, FAINT, GREY, INK, dress, for_words
from lightning_symmetry.report.sheets import HEIGHT, new_sheet
from lightning_symmetry.symmetry import Symmetry

# Constants that are smaller, relative to the largest, are noise.
_SMALL = 0.04
_MOST_TERMS = 3
_MOST_WRITTEN = 10
# Of larger ones, numbers say more than a picture.
MOST_DRAWN = 20


def find_brackets(algebra: Algebra) -> Tensor:
    """Write the brackets of the readable basis in that basis, as vector fields: ``[X_i, X_j] = sum_k c_ijk X_k``.

    Args:
        algebra: Its basis consists of matrices or of coefficients of fields.

    Returns:
        (r, r, r) constants c, of the nearest combination where the brackets leave the span.

    Example:
        >>> from lightning_symmetry.discovery.algebra import name_algebra
        >>> from lightning_symmetry.groups import SE
        >>> find_brackets(name_algebra(SE(2)))[0].round(decimals=3).tolist()  # rotation with itself, d/dx, d/dy
        [[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
    """
    basis = algebra.basis
    if basis.shape[1] == basis.shape[2]:
        # the fields A x have the opposite brackets of their matrices
        brackets = -commutators(basis)
    else:
        dim, size = basis.shape[1:]
        degree = degree_of(dim, size)
        products = list_monomials(dim, max(2 * degree - 1, 1))
        brackets = bracket_fields(basis, list_monomials(dim, degree), products)[..., :size]
    rows = basis.flatten(1)
    constants = torch.linalg.lstsq(rows.mT, brackets.flatten(2).flatten(0, 1).mT).solution
    return constants.mT.reshape(len(rows), len(rows), len(rows)) + 0.0


def write_brackets(algebra: Algebra) -> list[list[str]]:
    """Write each bracket as people do, such as "X3" or "-2 X1 + X2".

    Args:
        algebra: With r generators, called X1 to Xr here.

    Returns:
        r rows of r formulas.

    Example:
        >>> from lightning_symmetry.discovery.algebra import name_algebra
        >>> from lightning_symmetry.groups import SE
        >>> write_brackets(name_algebra(SE(2)))
        [['0', '-X3', 'X2'], ['X3', '0', '0'], ['-X2', '0', '0']]
    """
    constants = find_brackets(algebra)
    error = _SMALL / 2 * float(constants.abs().max())
    return [[_write(row.tolist(), error) for row in rows] for rows in constants]


def write_basis(algebra: Algebra, symmetry: Symmetry) -> list[str]:
    """Write the readable basis as vector fields.

    Args:
        algebra: Of the symmetry's group.
        symmetry: Tells what the coordinates are.

    Returns:
        r formulas.
    """
    return [write_field(g, symmetry, e) for g, e in zip(algebra.basis, algebra.errors, strict=True)]


def draw_algebra_sheet(algebra: Algebra, symmetry: Symmetry) -> Any:
    """Draw the card of an algebra: its basis, the table of brackets, and the Killing form.

    Args:
        algebra: Of the symmetry's group.
        symmetry: Tells what the coordinates are.

    Returns:
        A matplotlib ``Figure``.
    """
    facts = [textwrap.fill(line, 128, subsequent_indent="    ") for line in (*algebra.facts(), *algebra.notes)]
    lines = sum(fact.count("\n") + 1 for fact in facts)
    tail = 0.17 * lines + 0.1
    figure = new_sheet(max(HEIGHT, 4.2 + tail))
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[0.55, max(HEIGHT - 0.55 - tail, 3.65), tail])
    top.text(0.015, 0.45, algebra.conclusion, fontsize=13, fontweight="bold", color=INK, va="center")
    bottom.text(0.015, 0.5, "\n".join(facts), fontsize=8.5, color=for_words(GREY), va="center")
    formulas = write_basis(algebra, symmetry)
    left, right = middle.subfigures(1, 2, width_ratios=[0.9 if max(map(len, formulas)) < 34 else 1.3, 2.0])
    _list_basis(left, formulas)
    panels = right.subplots(1, 1 if algebra.killing is None else 2, squeeze=False)[0]
    constants = find_brackets(algebra)
    _draw_brackets(panels[0], algebra, constants)
    if algebra.killing is not None:
        killing = torch.einsum("ikl,jlk->ij", constants, constants)
        _draw_square(panels[1], killing, [[_write_number(v, killing) for v in row] for row in killing.tolist()])
        dress(panels[1], f"Killing form {_write_inertia(algebra)}")
    return figure


def _list_basis(figure: Any, formulas: list[str]) -> None:
    size = 11 if len(formulas) <= 8 and max(map(len, formulas)) < 60 else 8
    step = min(0.1, 0.9 / max(len(formulas), 1))
    for index, formula in enumerate(formulas):
        height = 0.5 + step * ((len(formulas) - 1) / 2 - index)
        words = to_mathtext(f"X{index + 1} = {formula}" if len(formula) < 80 else f"X{index + 1}")
        figure.text(0.03, height, words, fontsize=size, color=INK, va="center")


def _draw_brackets(axes: Any, algebra: Algebra, constants: Tensor) -> None:
    """The largest constant of each bracket as colour, the bracket itself as words."""
    strongest = constants.gather(2, constants.abs().argmax(2, keepdim=True))[..., 0]
    _draw_square(axes, strongest, write_brackets(algebra))
    dress(axes, "Brackets: row with column")


def _draw_square(axes: Any, values: Tensor, words: list[list[str]]) -> None:
    count, largest = len(values), max(float(values.abs().max()), 1e-12)
    axes.imshow((values / largest).numpy(), cmap=DIVERGING, vmin=-1.9, vmax=1.9)
    names = [to_mathtext(f"X{i + 1}") for i in range(count)]
    axes.set_xticks(range(count), names)
    axes.set_yticks(range(count), names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.hlines([i - 0.5 for i in range(1, count)], -0.5, count - 0.5, color=FAINT, linewidth=0.5)
    axes.vlines([i - 0.5 for i in range(1, count)], -0.5, count - 0.5, color=FAINT, linewidth=0.5)
    if count > _MOST_WRITTEN:
        return
    for i, row in enumerate(words):
        for j, cell in enumerate(row):
            if cell != "0":
                size = min(11.0, 36 / count + 4, 270 / (count * max(len(cell.replace(" ", "")), 3)))
                text = axes.text(j, i, to_mathtext(cell), ha="center", va="center", fontsize=size, color=INK)
                text.set_in_layout(False)


def _write(values: list[float], error: float) -> str:
    terms = []
    for index, value in sorted(enumerate(values), key=lambda item: -abs(item[1])):
        text, exact = snap(value, error)
        if exact:
            size = text.removeprefix("-")
            factor = "" if size == "1" else f"{size} "
            terms.append(f"{'- ' if text.startswith('-') else '+ '}{factor}X{index + 1}")
    if not terms:
        return "0"
    text = " ".join(terms[:_MOST_TERMS]) + (" + ..." if len(terms) > _MOST_TERMS else "")
    return text.removeprefix("+ ") if text[0] == "+" else "-" + text[2:]


def _write_number(value: float, among: Tensor) -> str:
    return snap(value, _SMALL / 2 * max(float(among.abs().max()), 1e-12))[0]


def _write_inertia(algebra: Algebra) -> str:
    signs = zip("+\u22120", algebra.inertia or (), strict=False)
    return "(" + ", ".join(f"{count} {sign}" if sign != "0" else f"{count} zero" for sign, count in signs) + ")"
