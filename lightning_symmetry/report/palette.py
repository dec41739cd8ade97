"""Colours that everybody can tell apart (Okabe and Ito), and one look for all panels."""

from __future__ import annotations

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
}
INK, FAINT, SLATE = "#222222", "#DDDDDD", "#59626B"
# Words need more contrast than lines do: at least 4.5 to white.
_WORDS = {GREEN: "#00694B", ORANGE: "#8A5300", GREY: SLATE, VERMILLION: "#A84A00", PURPLE: "#9A3F73"}
# Both ends stay distinct for every common kind of colour blindness.
DIVERGING = "PuOr"


def for_words(colour: str) -> str:
    """Darken a colour until words in it can be read on white.

    Example:
        >>> for_words(GREEN), for_words(INK)
        ('#00694B', '#222222')
    """
    return _WORDS.get(colour, colour)


def dress(axes: Any, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Give a panel its title, labels and quiet frame."""
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors=INK, length=3)
    for name, spine in axes.spines.items():
        spine.set_color(FAINT if name in ("top", "right") else GREY)
        spine.set_linewidth(0.8)
