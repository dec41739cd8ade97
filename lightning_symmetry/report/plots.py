"""One picture of a discovery: fields, orbits, evidence, training."""

from __future__ import annotations

import re
import textwrap
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.discovery import Discovery
from lightning_symmetry.discovery.naming import name_in
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.report.curves import draw_evidence, draw_losses, draw_norms
from lightning_symmetry.report.fields import draw_field, draw_matrix
from lightning_symmetry.report.orbits import choose_span, draw_orbit, shows_images, take_samples, to_grey
from lightning_symmetry.report.palette import GREY, INK, VERDICTS
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

MOST_GENERATORS = 6
_WIDTH, _ROW, _FOOT = 13.0, 3.1, 3.4
# Shares of field, orbit and matrix, by what is moved: images, or spaces of so many dimensions (4: four or more).
_WIDTHS: dict[int | str, list[float]] = {
    "image": [1.0, 1.95, 0.05],
    1: [1.0, 1.2, 0.8],
    2: [1.0, 1.2, 0.8],
    3: [1.75, 1.0, 0.65],
    4: [1.2, 1.4, 0.4],
}


def draw_discovery(discovery: Discovery, samples: Any = None) -> Any:
    """Draw each generator's field and orbit, the evidence, and the curves of training.

    The generators are those of ``discovery.symmetry``: the readable basis of the accepted ones, or the learnt ones
    where none was accepted. Pyplot and its global state are not touched.

    Args:
        discovery: What was found.
        samples: Input structure; its first three rows are moved. Without it, no orbits are drawn.

    Returns:
        A matplotlib ``Figure``, or None where matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    symmetry = discovery.symmetry
    shown = min(symmetry.group.count, MOST_GENERATORS)
    # the nodes of graphs are too many and too uneven for a row of curves
    few = None if samples is None or Rows.of(samples).are_ragged else take_samples(samples, symmetry)
    backdrop = None
    if few is not None and shows_images(symmetry):
        backdrop = to_grey(get_leaf(few, symmetry.input.moving[0][0] or "")[:1])[0]
    title = _wrap(discovery.conclusion[0].upper() + discovery.conclusion[1:], 108)
    head = 0.55 + 0.25 * title.count("\n")
    notes = [_wrap(note, 150) for note in (*discovery.notes, *_count_hidden(symmetry, shown))]
    tail = 0.1 + 0.22 * sum(note.count("\n") + 1 for note in notes)
    figure: Any = Figure(figsize=(_WIDTH, head + _ROW * shown + _FOOT + tail), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    parts = figure.subfigures(shown + 3, 1, height_ratios=[head, *[_ROW] * shown, _FOOT, tail])
    parts[0].text(0.01, 0.5, title, fontsize=14, fontweight="bold", color=INK, va="center")
    for index in range(shown):
        _draw_generator(parts[1 + index], discovery, index, few, backdrop)
    _draw_foot(parts[-2], discovery)
    parts[-1].text(0.01, 0.5, "\n".join(notes), fontsize=10, color=GREY, va="center")
    return figure


def _draw_generator(figure: Any, discovery: Discovery, index: int, few: Any, backdrop: Tensor | None) -> None:
    symmetry, group = discovery.symmetry, discovery.symmetry.group
    generator, dim = group.coefficients()[index], group.dim or group.coefficients().shape[1]
    if discovery.accepted:
        naming = discovery.canonical_names[index]
        title, colour = f"{naming[0].upper()}{naming[1:]}", VERDICTS["accepted"]
    else:
        evidence = discovery.generators[index]
        name = name_in(group, generator).name
        title = f"Generator {index} ({evidence.verdict}, norm {evidence.norm:.2g}): {name}"
        colour = VERDICTS[evidence.verdict]
    pictures = shows_images(symmetry)
    left, middle, right = figure.subfigures(1, 3, width_ratios=_WIDTHS["image" if pictures else min(dim, 4)])
    left.suptitle(_wrap(title, 60 if dim == 3 else 36), fontsize=12, fontweight="bold", color=colour, x=0.03, ha="left")
    if float(torch.linalg.matrix_norm(generator)) < 1e-9:
        left.text(0.5, 0.5, "vanished", ha="center", color=GREY)
        return
    draw_field(left, generator, dim, group.affine, backdrop)
    if dim == 3:
        left.text(0.03, 0.02, "arrows: within the plane; colour: out of it", fontsize=9, color=GREY)
    if not pictures and dim <= 3:
        right.suptitle("Generator", fontsize=11, color=INK, x=0.05, ha="left")
        draw_matrix(right, generator, dim)
    if few is None:
        middle.text(0.5, 0.5, "no samples were given, so no orbits", ha="center", color=GREY)
        return
    reach, angular = choose_span(symmetry, index)
    what = "up to half a turn either way" if angular else f"coefficients up to {reach:g} either way"
    middle.suptitle(f"Real samples, {what}", fontsize=11, color=INK, x=0.03, ha="left")
    draw_orbit(middle, few, symmetry, index)


def _draw_foot(figure: Any, discovery: Discovery) -> None:
    """Evidence, and the curves where training left any."""
    curves = [draw for draw, there in zip((draw_norms, draw_losses), _has_curves(discovery), strict=True) if there]
    panels = figure.subplots(1, 1 + len(curves), squeeze=False)[0]
    draw_evidence(panels[0], discovery)
    for axes, draw in zip(panels[1:], curves, strict=True):
        draw(axes, discovery)


def _has_curves(discovery: Discovery) -> tuple[bool, bool]:
    history = discovery.history
    enough = len(history.get("step", [])) > 1
    norms = any(key.startswith("norm_") for key in history)
    return enough and norms, enough and any(key != "step" and not key.startswith("norm_") for key in history)


def _wrap(text: str, width: int) -> str:
    """Break lines, but never within brackets."""
    return textwrap.fill(re.sub(r"\([^)]*\)", lambda m: m[0].replace(" ", "\u00a0"), text), width)


def _count_hidden(symmetry: Symmetry, shown: int) -> list[str]:
    hidden = symmetry.group.count - shown
    return [f"{hidden} further generators are not drawn."] if hidden else []
