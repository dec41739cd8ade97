"""Panels on the evidence and on how training came to it."""

from __future__ import annotations

import math
from typing import Any

from lightning_symmetry.discovery import Discovery, GeneratorEvidence
from lightning_symmetry.discovery.evidence import (
    ABSOLUTE_BOUND,
    ACCEPTED_NORM,
    ACCEPTED_SHARE,
    LARGEST_CONTROL,
    SPARE_NORM,
)
from lightning_symmetry.report.palette import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERDICTS,
    VERMILLION,
    dress,
    for_words,
)

_LINES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE)
_SMALLEST = 1e-6


def draw_evidence(axes: Any, discovery: Discovery) -> None:
    """Draw each generator's violation as a bar, beside what is accepted and what a random direction does."""
    generators = discovery.generators
    values = [max(g.violation, _SMALLEST) if math.isfinite(g.violation) else 1.0 for g in generators]
    floor = min([*values, 1e-3]) / 3
    for row, (g, value) in enumerate(zip(generators, values, strict=True)):
        colour = VERDICTS[g.verdict]
        axes.plot([floor, value], [row, row], color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot([value], [row], "o", color=colour, markersize=10, clip_on=False)
        axes.annotate(f"{g.index}: {g.name}, {g.verdict}", (0.02, row), xycoords=("axes fraction", "data"),
                      xytext=(0, 9), textcoords="offset points", fontsize=9, color=INK,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
    control = generators[0].random_violation
    bound = ABSOLUTE_BOUND if control is None else ACCEPTED_SHARE * min(control, LARGEST_CONTROL)
    axes.axvline(bound, color=GREEN, linestyle="--", linewidth=1.4)
    axes.annotate("accepted below", (bound, 1.0), xycoords=("data", "axes fraction"), xytext=(-3, 3),
                  textcoords="offset points", fontsize=8.5, color=for_words(GREEN), ha="right")  # fmt: skip
    if control is not None and math.isfinite(control):
        axes.axvline(control, color=VERMILLION, linestyle=":", linewidth=1.6)
        axes.annotate("random direction", (control, 1.0), xycoords=("data", "axes fraction"), xytext=(3, 3),
                      textcoords="offset points", fontsize=8.5, color=for_words(VERMILLION), ha="left")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(floor, max([*values, control or bound, bound]) * 30)
    axes.set_ylim(len(generators) - 0.5, -0.8)
    axes.set_yticks([])
    dress(axes, "", "violation at unit angle (1 = variance of the output)")
    axes.set_title("How far each generator is from holding", fontsize=11, color=INK, loc="left", pad=18)


def draw_norms(axes: Any, discovery: Discovery) -> bool:
    """Draw the norm of each generator over training, with the bounds of the verdict.

    Returns:
        Whether there was anything to draw.
    """
    steps, history = discovery.history.get("step", []), discovery.history
    curves = [(g, history[f"norm_{g.index}"]) for g in discovery.generators if f"norm_{g.index}" in history]
    if len(steps) < 2 or not curves:
        return False
    for g, curve in curves:
        axes.plot(steps[: len(curve)], curve, color=VERDICTS[g.verdict], linewidth=2)
    reach = max((v for _, curve in curves for v in curve if math.isfinite(v)), default=0.0)
    for words, height, colour in _merge_labels([(g, curve[-1]) for g, curve in curves], 0.06 * reach):
        axes.annotate(words, (steps[-1], height), xytext=(6, 0), textcoords="offset points",
                      fontsize=10, va="center", color=for_words(colour), fontweight="bold",
                      annotation_clip=False)  # fmt: skip
    if discovery.cap is not None:
        for share, words, colour in ((ACCEPTED_NORM, "large enough above", GREEN), (SPARE_NORM, "gone below", GREY)):
            axes.axhline(share * discovery.cap, color=colour, linestyle="--", linewidth=1.2)
            axes.annotate(words, (0.98, share * discovery.cap), xycoords=("axes fraction", "data"), xytext=(0, 3),
                          textcoords="offset points", fontsize=8.5, color=for_words(colour), ha="right")  # fmt: skip
    axes.set_ylim(0, 1.06 * max(reach, 1.1 * ACCEPTED_NORM * (discovery.cap or 0.0), 1e-6))
    axes.grid(color=FAINT, linewidth=0.6, axis="y")
    dress(axes, "How large each generator has grown", "step", "norm")
    return True


def draw_losses(axes: Any, discovery: Discovery) -> bool:
    """Draw the equivariance error over training; any other curves where there is none.

    Returns:
        Whether there was anything to draw.
    """
    steps = discovery.history.get("step", [])
    others = {k: v for k, v in discovery.history.items() if k != "step" and not k.startswith("norm_") and len(v) > 1}
    errors = {k: v for k, v in others.items() if "equivariance" in k or "violation" in k}
    chosen, title = errors or others, "Equivariance error while training" if errors else "Penalties while training"
    if len(steps) < 2 or not chosen:
        return False
    positive = all(v > 0 for curve in chosen.values() for v in curve if not math.isnan(v))
    for colour, (key, curve) in zip(_LINES, chosen.items(), strict=False):
        axes.plot(steps[: len(curve)], curve, color=colour, linewidth=2, label=key.replace("_", " ").replace("/", ": "))
    if positive:
        axes.set_yscale("log")
    axes.grid(color=FAINT, linewidth=0.6, axis="y")
    dress(axes, title, "step", "loss (log scale)" if positive else "loss")
    axes.legend(fontsize=9, frameon=False, labelcolor=INK)
    return True


def _merge_labels(ends: list[tuple[GeneratorEvidence, float]], apart: float) -> list[tuple[str, float, str]]:
    """Join the numbers of curves that end together: (words, height, colour)."""
    groups: list[list[tuple[GeneratorEvidence, float]]] = []
    for end in sorted((e for e in ends if not math.isnan(e[1])), key=lambda e: e[1]):
        if groups and end[1] - groups[-1][-1][1] < apart and end[0].verdict == groups[-1][-1][0].verdict:
            groups[-1].append(end)
        else:
            groups.append([end])
    return [
        (
            ", ".join(str(g.index) for g, _ in sorted(group, key=lambda e: e[0].index)),
            sum(height for _, height in group) / len(group),
            VERDICTS[group[0][0].verdict],
        )
        for group in groups
    ]
