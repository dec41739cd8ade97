"""Figures that stand alone on a slide: the spectrum, the fields, the orbits."""

from __future__ import annotations

import math
import re
import textwrap
from typing import Any

from torch import Tensor

from lightning_symmetry.discovery import Discovery
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.report.fields import draw_flow
from lightning_symmetry.report.formulas import name_coordinates, name_found, title_of, to_mathtext, write_formulas
from lightning_symmetry.report.orbits import choose_span, draw_orbit, has_orbits, shows_images, take_samples, to_grey
from lightning_symmetry.report.palette import GREEN, GREY, INK, for_words
from lightning_symmetry.report.spectra import draw_spectrum
from lightning_symmetry.rows import Rows

# Of fields and of orbits, on one slide.
MOST_FIELDS, MOST_ORBITS = 9, 6
# Of a slide, in inches; at DPI dots an inch it has 1920 x 1080 pixels.
WIDTH, HEIGHT, DPI = 9.6, 5.4, 200
# Side by side, by the number of generators.
_COLUMNS = (1, 1, 2, 3, 2, 3, 3, 4, 4, 3)


def draw_spectrum_sheet(discovery: Discovery) -> Any:
    """Draw the spectrum of an extraction under its verdict.

    Args:
        discovery: With a spectrum.

    Returns:
        A matplotlib ``Figure``.
    """
    spectrum = discovery.spectrum
    assert spectrum is not None
    figure = new_sheet(HEIGHT)
    found = name_found(discovery) or ("no symmetry was declared" if spectrum.directions else "nothing could be told")
    title = wrap(f"{sentence_case(discovery.verdict)}: {found}", 84)
    figure.suptitle(title, fontsize=13, fontweight="bold", color=INK, x=0.015, ha="left")
    axes = figure.subplots()
    draw_spectrum(axes, spectrum, name_found(discovery))
    words = f"{spectrum.samples} samples, {discovery.held_out} data; intervals: jackknife over {spectrum.folds} folds"
    axes.set_title(words, fontsize=9, color=for_words(GREY), loc="left")
    return figure


def draw_fields_sheet(discovery: Discovery, backdrop: Tensor | None = None) -> Any:
    """Draw every generator found as a field, or as a matrix where it cannot be drawn, with name and formula.

    Args:
        discovery: With at least one generator found.
        backdrop: (H, W) image in [0, 1], drawn faintly below fields of the image plane.

    Returns:
        A matplotlib ``Figure``.
    """
    count = min(len(discovery.canonical_names), MOST_FIELDS)
    columns = _COLUMNS[count]
    rows = math.ceil(count / columns)
    figure = new_sheet(HEIGHT if rows < 3 else 2.6 * rows)
    draw_fields(figure, discovery, count, columns, backdrop)
    return figure


def draw_fields(
    figure: Any, discovery: Discovery, count: int, columns: int, backdrop: Tensor | None, inches: float = WIDTH
) -> None:
    """Fill a (sub)figure with the fields of the first generators.

    Args:
        figure: A matplotlib (sub)figure.
        discovery: What was found.
        count: Number of generators to draw.
        columns: Side by side.
        backdrop: As for `draw_fields_sheet`.
        inches: Width of the figure.
    """
    group, formulas = discovery.symmetry.group, write_formulas(discovery)
    numbers, rows = group.coefficients().detach(), math.ceil(count / columns)
    dim = group.dim or numbers.shape[1]
    jets = name_coordinates(discovery.symmetry)
    cells = figure.subfigures(rows, columns, squeeze=False).flatten()
    for index, cell in enumerate(cells[:count]):
        name = title_of(discovery, index)
        size = _fit(name, inches / columns, 13.0) if "d/d" in name else 10.5
        cell.suptitle(_title(name, inches / columns), fontsize=size, fontweight="bold", color=for_words(GREEN))
        draw_flow(cell, numbers[index], dim, group.affine, backdrop, jets)
        if formulas[index] and formulas[index] != name:
            size = _fit(formulas[index], inches / columns, 11.0)
            cell.supxlabel(to_mathtext(formulas[index]), fontsize=size, color=INK)


def draw_orbits_sheet(discovery: Discovery, few: Any) -> Any:
    """Draw what each generator found makes of real samples.

    Args:
        discovery: With at least one generator found.
        few: Input structure of a few rows.

    Returns:
        A matplotlib ``Figure``; None where nothing can be drawn.
    """
    if not has_orbits(discovery.symmetry, few):
        return None
    pictures = shows_images(discovery.symmetry)
    count = min(len(discovery.canonical_names), MOST_ORBITS)
    columns = _COLUMNS[count] if not pictures else 1 if count <= 3 else 2
    rows = math.ceil(count / columns)
    figure = new_sheet(HEIGHT if rows < 4 and (pictures or rows < 3) else 2.6 * rows)
    draw_orbits(figure, discovery, few, count, columns)
    return figure


def draw_orbits(figure: Any, discovery: Discovery, few: Any, count: int, columns: int, inches: float = WIDTH) -> None:
    """Fill a (sub)figure with the orbits of the first generators.

    Args:
        figure: A matplotlib (sub)figure.
        discovery: What was found.
        few: Input structure of a few rows.
        count: Number of generators to draw.
        columns: Side by side.
        inches: Width of the figure.
    """
    symmetry = discovery.symmetry
    rows = math.ceil(count / columns)
    if shows_images(symmetry):
        # so that the strips of several generators stay readable
        few = take_samples(few, symmetry, max(1, 3 // rows))
    cells = figure.subfigures(rows, columns, squeeze=False).flatten()
    for index, cell in enumerate(cells[:count]):
        reach, angular = choose_span(symmetry, index)
        what = "half a turn either way" if angular else f"coefficients to ±{reach:g}"
        name = _title(title_of(discovery, index), inches / columns)
        cell.suptitle(f"{name}: {what}" if columns == 1 else f"{name}\n{what}", fontsize=10, color=for_words(GREEN))
        draw_orbit(cell, few, symmetry, index, legend=index == 0)


def choose_samples(discovery: Discovery, samples: Any) -> tuple[Any, Tensor | None]:
    """Choose the samples whose orbits are drawn, and the image below the fields.

    Args:
        discovery: What was found.
        samples: Input structure, or None.

    Returns:
        An input structure of a few rows (None where there is none), and a (H, W) image in [0, 1] or None.
    """
    symmetry = discovery.symmetry
    # the nodes of graphs are too many and too uneven for a row of curves
    if samples is None or Rows.of(samples).are_ragged:
        return None, None
    few = take_samples(samples, symmetry)
    if not shows_images(symmetry):
        return few, None
    return few, to_grey(get_leaf(few, symmetry.input.moving[0][0] or "")[:1])[0]


def new_sheet(height: float, width: float = WIDTH) -> Any:
    """Make an empty figure without touching pyplot."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure


def sentence_case(text: str) -> str:
    """Begin with a capital letter.

    Example:
        >>> sentence_case("rotation about z"), sentence_case("x^2 d/dy")
        ('Rotation about z', 'x^2 d/dy')
    """
    # formulas begin with a symbol or a number
    return text if re.match(r"-?([a-z]\d*\b|\d)", text) else text[:1].upper() + text[1:]


def _title(name: str, inches: float) -> str:
    """A name as wide as its panel; formulas are set as such."""
    return to_mathtext(name) if "d/d" in name else wrap(sentence_case(name), int(11 * inches))


def _fit(formula: str, inches: float, largest: float) -> float:
    """The font size at which a formula is no wider than its panel."""
    signs = len(formula.replace("d/d", "").replace(" ", ""))
    return max(6.0, min(largest, 120 * inches / max(signs, 1)))


def wrap(text: str, width: int) -> str:
    """Break lines, but never within brackets."""
    return textwrap.fill(re.sub(r"\([^)]*\)", lambda m: m[0].replace(" ", "\u00a0"), text), width)
