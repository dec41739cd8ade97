"""Colours that everybody can tell apart (Okabe and Ito), and one look for all panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BLUE, VERMILLION, PURPLE, GREEN, ORANGE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#8A8A8A"
SAMPLES = (BLUE, VERMILLION, PURPLE)
VERDICTS = {
    "accepted": GREEN,
    "symmetric": GREEN,
    "spare": GREY,
    "violated": GREY,
    "absent": GREY,
    "undecided": ORANGE,
    "exact": GREEN,
    "approximate": BLUE,
    "broken": GREY,
    "infeasible": VERMILLION,
}
INK, FAINT, SLATE = "#222222", "#DDDDDD", "#59626B"
# Words need more contrast than lines do: at least 4.5 to white.
_WORDS = {GREEN: "#00694B", ORANGE: "#8A5300", GREY: SLATE, VERMILLION: "#A84A00", PURPLE: "#9A3F73"}
_LINES, _STYLES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, GREY), ("-", "--", ":")
# Both ends stay distinct for every common kind of colour blindness.
DIVERGING = "PuOr"


def for_words(colour: str) -> str:
    """Darken a colour until words in it can be read on white.

    Example:
        >>> for_words(GREEN), for_words(INK)
        ('#00694B', '#222222')
    """
    return _WORDS.get(colour, colour)


def style_line(index: int) -> dict[str, Any]:
    """Give the i-th of several lines a colour and a dash that no other has, up to eighteen."""
    return {"color": _LINES[index % len(_LINES)], "linestyle": _STYLES[index // len(_LINES) % len(_STYLES)]}


def spread_labels(heights: Sequence[float], apart: float) -> list[float]:
    """Move labels that would lie on each other apart, as little as possible.

    Args:
        heights: Where each should be.
        apart: The least distance of two.

    Returns:
        Where each is, in the order given.

    Example:
        >>> spread_labels([0.5, 0.0, 0.5], 0.2)
        [0.4, 0.0, 0.6]
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    # blocks of labels that touch: the place of the first that suits all best, and how many they are
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        blocks.append((heights[index] - rank * apart, 1))
        while len(blocks) > 1 and blocks[-1][0] < blocks[-2][0]:
            (upper, more), (lower, many) = blocks.pop(), blocks.pop()
            blocks.append(((upper * more + lower * many) / (more + many), more + many))
    bases = [base for base, many in blocks for _ in range(many)]
    places = [0.0] * len(heights)
    for rank, index in enumerate(order):
        places[index] = bases[rank] + rank * apart
    return places


def dress(axes: Any, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Give a panel its title, labels and quiet frame."""
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors=INK, length=3)
    for name, spine in axes.spines.items():
        spine.set_color(FAINT if name in ("top", "right") else GREY)
        spine.set_linewidth(0.8)
