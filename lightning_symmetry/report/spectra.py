"""Panel on a spectrum: every candidate direction, its interval, the null and the bound."""

from __future__ import annotations

import math
import re
import textwrap
from typing import Any

from lightning_symmetry.discovery.spectrum import Direction, Spectrum
from lightning_symmetry.report.palette import FAINT, GREEN, GREY, INK, SLATE, VERMILLION, dress, for_words

# Exact symmetries in double precision reach 1e-15: an axis down to there would leave nothing to see of the rest.
FLOOR = 1e-5
_SHAPES = {"equivariance": "o", "invariance": "s"}
_HOMOGENEITY = "^"
_MOST_LABELLED = 24
_LINE = 30


def draw_spectrum(axes: Any, spectrum: Spectrum, found: str = "") -> None:
    """Draw the defects in ascending order on a logarithmic axis.

    Declared directions are green, others slate, all with their 95 % intervals; hollow diamonds are the null, the dashed
    line is the bound. Defects below `FLOOR` stand on the floor as open markers.

    Args:
        axes: Matplotlib axes.
        spectrum: What to draw.
        found: What the declared directions are together, written beside them.
    """
    if not spectrum.directions:
        words = spectrum.refused or "there is no candidate direction"
        place = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, textwrap.fill(words, 60), color=INK, fontsize=12, **place)
        axes.set_xticks([]), axes.set_yticks([])
        dress(axes)
        return
    low, high = _limits(spectrum)
    _draw_bound(axes, spectrum, low)
    _draw_null(axes, spectrum, low)
    several = len(_kinds(spectrum)) > 1
    for index, direction in enumerate(spectrum.directions):
        declared = index < spectrum.declared
        shape = _shape(direction.label) if several and declared else "o"
        _draw_direction(axes, index, direction, GREEN if declared else SLATE, shape, low)
    _draw_gap(axes, spectrum, low)
    if found and spectrum.declared:
        bottom = max(min(d.low for d in spectrum.directions[: spectrum.declared]), low)
        wide = spectrum.declared > max(3, len(spectrum.directions) / 4)
        spot = ((spectrum.declared - 1) / 2 if wide else -0.1, bottom)
        axes.annotate(textwrap.fill(found, _LINE), spot, xytext=(0, -9), textcoords="offset points", fontsize=11,
                      fontweight="bold", color=for_words(GREEN), ha="center" if wide else "left", va="top")  # fmt: skip
    count = len(spectrum.directions)
    axes.set_yscale("log")
    room = 0.07 + 0.06 * len(textwrap.wrap(found, _LINE))
    axes.set_ylim(low / max((high / low) ** room, 4 if found else 2), high)
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_xticks(range(0, count, 1 if count <= _MOST_LABELLED else 5 * math.ceil(count / 60)))
    axes.grid(color=FAINT, linewidth=0.6, axis="y")
    axes.set_axisbelow(True)
    dress(axes, "", "direction, the most symmetric first", f"defect (1: {spectrum.unit})")
    _add_legend(axes, spectrum, low)


def describe_spectrum(spectrum: Spectrum) -> str:
    """Say in words what the picture shows, for those who cannot see it.

    Example:
        >>> bar = Direction(defect=0.01, low=0.008, high=0.012, upper=0.0117)
        >>> describe_spectrum(Spectrum((bar,), delta=0.1, declared=1))
        'Defects of 1 candidate direction in ascending order: 1 declared (0.01) below the bound of 0.1.'
    """
    if not spectrum.directions:
        return f"No spectrum: {spectrum.refused or 'there is no candidate direction'}."
    count, d = len(spectrum.directions), spectrum.declared
    defects = [f"{one.defect:.2g}" for one in spectrum.directions]
    words = f"Defects of {count} candidate direction{'s' * (count != 1)} in ascending order: "
    if d:
        spread = defects[0] if d == 1 else f"{defects[0]} to {defects[d - 1]}"
        words += f"{d} declared ({spread}) below the bound of {spectrum.delta:g}"
    else:
        words += f"none declared below the bound of {spectrum.delta:g}"
    if d < count:
        words += f"; the next is {defects[d]}"
    if spectrum.null:
        words += f"; the null begins at {spectrum.null[0]:.2g}"
    return words + "."


def _limits(spectrum: Spectrum) -> tuple[float, float]:
    """The floor and the top of the axis."""
    values = [d.defect for d in spectrum.directions] + [d.high for d in spectrum.directions] + list(spectrum.null)
    values = [v for v in (*values, spectrum.delta) if math.isfinite(v) and v > 0] or [1.0]
    lows = [d.low for d in spectrum.directions if math.isfinite(d.low) and d.low > 0]
    return max(min([*values, *lows]) / 1.5, FLOOR), 2.2 * max(values)


def _draw_bound(axes: Any, spectrum: Spectrum, low: float) -> None:
    axes.axhspan(low / 100, spectrum.delta, color=GREEN, alpha=0.06, linewidth=0)
    axes.axhline(spectrum.delta, color=GREEN, linestyle="--", linewidth=1.3)
    axes.annotate(f"bound δ = {spectrum.delta:g}", (1.0, spectrum.delta), xycoords=("axes fraction", "data"),
                  xytext=(-5, -4), textcoords="offset points", fontsize=9, color=for_words(GREEN), ha="right",
                  va="top")  # fmt: skip


def _draw_null(axes: Any, spectrum: Spectrum, low: float) -> None:
    if not spectrum.null:
        return
    heights = [max(v, low) for v in spectrum.null]
    axes.plot(range(len(heights)), heights, "-D", color=VERMILLION, linewidth=1, markersize=4.5,
              markerfacecolor="white", alpha=0.85, gid="null")  # fmt: skip


def _draw_direction(axes: Any, index: int, direction: Direction, colour: str, shape: str, low: float) -> None:
    below = not direction.defect > low
    height = low if below else direction.defect
    if math.isfinite(direction.high) and not below:
        axes.plot([index, index], [max(direction.low, low), direction.high], "-_", color=colour, linewidth=1.6,
                  markersize=5, gid="interval")  # fmt: skip
    axes.plot([index], [height], marker=shape, color=colour, markersize=7.5, linestyle="none",
              markerfacecolor="white" if below else colour, markeredgewidth=1.5 if below else 0,
              markeredgecolor=colour, gid="defect", zorder=3)  # fmt: skip


def _draw_gap(axes: Any, spectrum: Spectrum, low: float) -> None:
    gap, d = spectrum.gap, spectrum.declared
    if gap is None:
        return
    ends = max(spectrum.directions[d - 1].defect, low), spectrum.directions[d].defect
    at = d - 0.5
    arrow = {"arrowstyle": "<->", "color": GREY, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (at, ends[1]), xytext=(at, ends[0]), arrowprops=arrow)
    shown = gap if ends[0] > low else ends[1] / low
    words = f"gap {'' if ends[0] > low else 'over '}×{f'{shown:.3g}' if shown < 1000 else f'{shown:.0e}'}"
    words = re.sub(r"e\+0*(\d+)", lambda m: "0" * int(m[1]), words)
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
    axes.annotate(words, (at, math.sqrt(ends[0] * ends[1])), xytext=(6, 0), textcoords="offset points", fontsize=10,
                  color=INK, va="center", bbox=box)  # fmt: skip


def _add_legend(axes: Any, spectrum: Spectrum, low: float) -> None:
    """Explain colours, and shapes where there are several."""
    from matplotlib.lines import Line2D

    def mark(shape: str, colour: str, words: str, **more: Any) -> Line2D:
        return Line2D([], [], marker=shape, color=colour, linestyle="none", markersize=7, label=words, **more)

    d, count = spectrum.declared, len(spectrum.directions)
    entries = [mark("o", GREEN, "declared, with 95 % interval")] if d else []
    entries += [mark("o", SLATE, "not declared")] if d < count else []
    if any(not one.defect > low for one in spectrum.directions):
        words = "below $10^{-5}$" if low == FLOOR else f"below {low:.2g}"
        entries.append(mark("o", GREEN if d else SLATE, words, markerfacecolor="white"))
    if spectrum.null:
        entries.append(mark("D", VERMILLION, "null: paired at random", markerfacecolor="white"))
    if len(_kinds(spectrum)) > 1:
        entries += [mark(_shape(label), GREY, label) for label in _kinds(spectrum)]
    axes.legend(handles=entries, loc="lower right", fontsize=9, frameon=False, labelcolor=INK, handletextpad=0.3)


def _kinds(spectrum: Spectrum) -> list[str]:
    return sorted({direction.label for direction in spectrum.directions[: spectrum.declared]})


def _shape(label: str) -> str:
    return _SHAPES.get(label, _HOMOGENEITY)
