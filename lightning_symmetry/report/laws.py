"""One picture of a learnt law: what it makes of real samples, its ranges, and how they grew."""

from __future__ import annotations

import textwrap
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.discovery import LearntLaw, width_key
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.report.orbits import shows_images, take_samples, to_grey
from lightning_symmetry.report.palette import FAINT, GREY, INK, ORANGE, dress, for_words, spread_labels, style_line

_DRAWS = 6


def draw_law(law: LearntLaw, samples: Any = None) -> Any:
    """Draw the half-widths, their course over training and, for images, what the law makes of three of them.

    Args:
        law: What was learnt.
        samples: Input structure.

    Returns:
        A matplotlib ``Figure``, or None where matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    pictures = samples is not None and shows_images(law.symmetry)
    title = textwrap.fill(law.conclusion[0].upper() + law.conclusion[1:], 100)
    head = 0.5 + 0.25 * title.count("\n")
    heights = [head, 4.2] + ([3.2] if pictures else [])
    figure: Any = Figure(figsize=(13, sum(heights)), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights)
    parts[0].text(0.01, 0.5, title, fontsize=13, fontweight="bold", color=INK, va="center")
    bars, curves = parts[1].subplots(1, 2, width_ratios=[1.0, 1.4])
    _draw_ranges(bars, law)
    _draw_courses(curves, law)
    if pictures:
        _draw_pictures(parts[2], law, samples)
    return figure


def _draw_ranges(axes: Any, law: LearntLaw) -> None:
    """Draw a bar from -w to w for each generator, with the start as two ticks and the range in words."""
    reach = max([g.width for g in law.generators] + [g.start for g in law.generators])
    for row, g in enumerate(law.generators):
        colour = style_line(row)["color"]
        axes.plot([-g.width, g.width], [row, row], color=colour, linewidth=6, solid_capstyle="butt")
        axes.plot([-g.start, g.start], [row, row], "|", color=INK, markersize=11)
        axes.annotate(f"{g.name}: {g.words}", (0, row), xytext=(0, 8), textcoords="offset points", fontsize=10,
                      color=INK, ha="center")  # fmt: skip
    axes.set_xlim(-1.15 * reach, 1.15 * reach)
    axes.set_ylim(len(law.generators) - 0.5, -0.8)
    axes.set_yticks([])
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    dress(axes, "Learnt ranges (ticks: at the start)", "coefficient")


def _draw_courses(axes: Any, law: LearntLaw) -> None:
    """Draw each half-width over training."""
    steps = law.history.get("step", [])
    ends = []
    for index, g in enumerate(law.generators):
        curve = law.history.get(width_key(g.name), [])
        if len(steps) < 2 or len(curve) < 2:
            continue
        axes.plot(steps[: len(curve)], curve, linewidth=2, **style_line(index))
        ends.append((curve[-1], g.name, style_line(index)["color"]))
    if not ends:
        axes.text(0.5, 0.5, "no curves were kept", ha="center", color=for_words(GREY), transform=axes.transAxes)
    else:
        axes.set_ylim(bottom=0)
        low, high = axes.get_ylim()
        heights = spread_labels([height for height, _, _ in ends], 0.055 * (high - low))
        for (height, name, colour), place in zip(ends, heights, strict=True):
            axes.annotate(name, (steps[-1], height), xytext=(1.02, place), textcoords=axes.get_yaxis_transform(),
                          fontsize=10, va="center", color=for_words(colour), annotation_clip=False)  # fmt: skip
    axes.grid(color=FAINT, linewidth=0.6, axis="y")
    dress(axes, "How the half-widths grew", "step", "half-width")


def _draw_pictures(figure: Any, law: LearntLaw, samples: Any) -> None:
    """Draw three images, each with what a few draws make of it."""
    symmetry = law.symmetry
    few = take_samples(samples, symmetry)
    path = symmetry.input.moving[0][0] or ""
    frames: list[Tensor] = [to_grey(get_leaf(few, path))]
    with torch.no_grad():
        g, _ = symmetry.sample(few, _DRAWS, Rng(0))
        for j in range(_DRAWS):
            frames.append(to_grey(get_leaf(symmetry.move_input(g[j::_DRAWS], few), path)))
    figure.suptitle("Samples as they are, and as the law draws them", fontsize=11, color=INK, x=0.03, ha="left")
    grid = figure.subplots(len(frames[0]), len(frames), squeeze=False)
    for j, column in enumerate(frames):
        for i, picture in enumerate(column):
            axes = grid[i][j]
            low, high = float(frames[0][i].min()), float(frames[0][i].max())
            axes.imshow(picture.numpy(), cmap="gray", vmin=low, vmax=max(high, low + 1e-12))
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(ORANGE if j == 0 else FAINT)
                spine.set_linewidth(1.8 if j == 0 else 0.8)
