"""How hard a network was pressed to each symmetry over training, how far it was from it, and what was left of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from lightning_symmetry.discovery.judging import BROKEN, EXACT, find_curves, find_losses
from lightning_symmetry.discovery.level import SymmetryLevel, conclude_levels, write_percent
from lightning_symmetry.report.palette import (
    FAINT,
    GREEN,
    GREY,
    INK,
    VERDICTS,
    dress,
    for_words,
    spread_labels,
    style_line,
)
from lightning_symmetry.report.sheets import new_sheet, sentence_case, wrap

_WIDTH, _CURVES, _ROW = 13.0, 4.1, 0.34
_LONGEST_NAME = 30
# A constant strength that changes by such a factor was adjusted; more often than so many times is no event.
_JUMP, _MOST_JUMPS = 1.5, 4
# Shares of readings that differ from the one before: a curve with fewer is drawn as steps.
_STEPPED = 0.1
_LEAST_LEVEL = 1e-3
# Curves of more points are averaged over a window of this share.
_MANY, _WINDOW = 40, 0.05
# Decades that an axis spans at most below its largest value.
_DECADES = 8


def draw_levels(levels: Sequence[SymmetryLevel], curves: Mapping[str, Sequence[float]]) -> Any:
    """Draw strengths and losses over training, one line a symmetry, and the levels at the end.

    Args:
        levels: One a symmetry.
        curves: Over training, see `judge_levels`.

    Returns:
        A matplotlib ``Figure``, or None where matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        return None
    title = wrap(sentence_case(conclude_levels(levels)), 108)
    head, rows = 0.5 + 0.25 * title.count("\n"), 1.1 + _ROW * len(levels)
    figure = new_sheet(head + _CURVES + rows, _WIDTH)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[head, _CURVES, rows])
    top.text(0.01, 0.5, title, fontsize=14, fontweight="bold", color=INK, va="center")
    left, right = middle.subplots(1, 2, width_ratios=[1.25, 1.0])
    _draw_strengths(left, levels, curves)
    _draw_losses(right, levels, curves)
    _draw_ends(bottom.subplots(), levels)
    return figure


def _draw_strengths(axes: Any, levels: Sequence[SymmetryLevel], curves: Mapping[str, Sequence[float]]) -> None:
    drawn = {}
    for index, level in enumerate(levels):
        for key in find_curves(curves, level.name, "strength")[:1]:
            drawn[index] = _pair(curves, key)
    drawn = {index: points for index, points in drawn.items() if len(points) > 1}
    title, zeros = "How strongly each symmetry was pressed for", any(v <= 0 for p in drawn.values() for _, v in p)
    dress(axes, title, "step", f"strength (log scale{', 0 at the lower edge' if zeros else ''})")
    if not drawn:
        _say_nothing(axes)
        return
    floor, top = _span([value for points in drawn.values() for _, value in points])
    jumps: set[float] = set()
    for index, points in drawn.items():
        steps, values = [step for step, _ in points], [max(value, floor) for _, value in points]
        changes = sum(a != b for a, b in pairwise(values))
        style = "steps-post" if changes <= max(1, _STEPPED * len(values)) else "default"
        axes.plot(steps, values, drawstyle=style, linewidth=2.2, **style_line(index))
        triples = zip(values, values[1:], values[2:], steps[2:], strict=False)
        jumps |= {step for a, b, c, step in triples if a == b > floor and not 1 / _JUMP < c / b < _JUMP}
    _set_log(axes, floor, top)
    if 0 < len(jumps) <= _MOST_JUMPS:
        axes.set_title(f"{title}; dashed: adjusted", fontsize=11, color=INK, loc="left")
        for step in jumps:
            axes.axvline(step, color=GREY, linestyle="--", linewidth=1, zorder=0)
    _label_ends(axes, levels, {index: (points[-1][0], max(points[-1][1], floor)) for index, points in drawn.items()})


def _draw_losses(axes: Any, levels: Sequence[SymmetryLevel], curves: Mapping[str, Sequence[float]]) -> None:
    """Draw what was measured, and its mean over a moving window where there is much of it."""
    drawn, names = {}, []
    for index, level in enumerate(levels):
        for key in find_losses(curves, level.name)[:1]:
            drawn[index] = [(step, value) for step, value in _pair(curves, key) if value > 0]
            names.append(key.removeprefix(f"{level.name}/"))
    drawn = {index: points for index, points in drawn.items() if len(points) > 1}
    what = names[0].replace("_", " ") if len(set(names)) == 1 else "loss"
    dress(axes, "How far the network was from it", "step", f"{what} (log scale)")
    if not drawn:
        _say_nothing(axes)
        return
    _set_log(axes, *_span([value for points in drawn.values() for _, value in points]))
    for index, points in drawn.items():
        many, style = len(points) > _MANY, style_line(index)
        steps, values = [step for step, _ in points], [value for _, value in points]
        axes.plot(steps, values, linewidth=0.8 if many else 2.2, alpha=0.3 if many else 1.0, **style)
        if many:
            axes.plot(steps, _smooth(values), linewidth=2.2, **style)


def _draw_ends(axes: Any, levels: Sequence[SymmetryLevel]) -> None:
    """Draw every level with its error bar between the bounds of the verdicts, and the verdict beside it."""
    for row, level in enumerate(levels):
        colour = style_line(row)["color"]
        if math.isfinite(level.level):
            place, reach = max(min(level.level, 1.5), _LEAST_LEVEL), 2 * level.level_se if level.level_se > 0 else 0.0
            axes.plot([max(place - reach, _LEAST_LEVEL), place + reach], [row, row], color=colour, linewidth=2.5)
            # a triangle points to what lies beyond the edge
            marker = "<" if level.level < _LEAST_LEVEL else "o"
            axes.plot([place], [row], marker, color=colour, markersize=8, clip_on=False, zorder=3)
        if level.level_floor > _LEAST_LEVEL:
            axes.plot([level.level_floor], [row], "|", color=INK, markersize=13, markeredgewidth=1.6)
        words = f"{write_percent(level.level)}  {level.verdict}"
        axes.annotate(words, (1.01, row), xycoords=("axes fraction", "data"), fontsize=10, va="center",
                      color=for_words(VERDICTS[level.verdict]), annotation_clip=False)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(_LEAST_LEVEL, 1.5)
    axes.set_ylim(len(levels) - 0.4, -0.6)
    axes.set_yticks(range(len(levels)), [_shorten(level.name) for level in levels])
    axes.set_xticks([1e-3, 1e-2, 1e-1, 1.0], ["0.1%", "1%", "10%", "100%"])
    axes.minorticks_off()
    axes.axvspan(_LEAST_LEVEL, EXACT, color=GREEN, alpha=0.07, linewidth=0)
    axes.axvspan(BROKEN, 1.5, color=GREY, alpha=0.12, linewidth=0)
    for place, words in (
        (math.sqrt(EXACT * _LEAST_LEVEL), "exact"),
        (math.sqrt(EXACT * BROKEN), "approximate"),
        (0.87, "broken"),
    ):
        axes.annotate(words, (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 4), ha="center", fontsize=9,
                      textcoords="offset points", color=for_words(GREY))  # fmt: skip
    ticks = "; ticks: what carrying samples there and back costs" if any(one.floor > 0 for one in levels) else ""
    dress(axes, "", f"level: 0 for an exact symmetry, 100% where answers have nothing in common{ticks}")
    axes.set_title("How much of it is broken at the end", fontsize=11, color=INK, loc="left", pad=18)
    for index, text in enumerate(axes.get_yticklabels()):
        text.set(color=for_words(style_line(index)["color"]), fontsize=10)
    axes.tick_params(axis="y", length=0)


def _pair(curves: Mapping[str, Sequence[float]], key: str) -> list[tuple[float, float]]:
    """Steps and values of what was measured; a curve that began later ends with the others."""
    steps, values = curves.get("step", ()), curves[key]
    pairs = zip(steps[len(steps) - len(values) :] if len(values) < len(steps) else steps, values, strict=False)
    return [(float(step), float(value)) for step, value in pairs if math.isfinite(value)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The lower edge of a logarithmic axis, where zeros are drawn, and its largest value."""
    positive = [value for value in values if value > 0]
    top = max(positive, default=1.0)
    least = max(min(positive, default=1.0), top * 10.0**-_DECADES)
    return least / (2 if len(positive) == len(values) else 4), top


def _set_log(axes: Any, floor: float, top: float) -> None:
    # at least two decades, so that noise does not look like a course, and two ticks have numbers
    spare = max(0.0, 2 - math.log10(1.6 * top / floor)) / 2
    axes.set_yscale("log")
    axes.set_ylim(floor / 10**spare, 1.6 * top * 10**spare)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.grid(color=FAINT, linewidth=0.6, axis="y")


def _label_ends(axes: Any, levels: Sequence[SymmetryLevel], ends: Mapping[int, tuple[float, float]]) -> None:
    """Write every name at the end of its line; names move apart where lines end together."""
    low, high = (math.log(edge) for edge in axes.get_ylim())
    heights = [(math.log(value) - low) / (high - low) for _, value in ends.values()]
    places = spread_labels(heights, 0.062)
    # none leaves the panel where all have room in it
    excess = max(0.0, max(places) - 0.98) - max(0.0, 0.02 - min(places))
    for (index, (step, value)), place in zip(ends.items(), places, strict=True):
        colour = style_line(index)["color"]
        axes.annotate(_shorten(levels[index].name), (step, value), xytext=(1.03, place - excess), fontsize=10,
                      textcoords="axes fraction", va="center", color=for_words(colour), annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 1},
                      )  # fmt: skip


def _smooth(values: Sequence[float]) -> list[float]:
    """Geometric mean over a moving window, centred."""
    half = max(1, round(_WINDOW * len(values) / 2))
    logs = [math.log(value) for value in values]
    windows = [logs[max(0, i - half) : i + half + 1] for i in range(len(logs))]
    return [math.exp(sum(window) / len(window)) for window in windows]


def _shorten(name: str) -> str:
    half = _LONGEST_NAME // 2 - 1
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]} … {name[-half:]}"


def _say_nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "no curves were kept", ha="center", color=for_words(GREY), transform=axes.transAxes)
