"""Which layer breaks the symmetry: a bar chart and a table."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from lightning_symmetry.archive import writing_into
from lightning_symmetry.metrics.layerwise import BETWEEN, LayerDerivatives
from lightning_symmetry.report.palette import BLUE, FAINT, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, dress

MOST_LAYERS = 16
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, GREY)
_BAR = 0.13
# Share of the whole below which a contribution is not drawn.
_SMALLEST = 1e-5


def write_layers(found: LayerDerivatives, folder: str | Path, title: str = "") -> Path:
    """Write ``layers.csv`` and, with matplotlib, ``layers.png``.

    Args:
        found: What the layers contribute.
        folder: Made if missing.
        title: Above the picture.

    Returns:
        The folder.

    Raises:
        InvalidSetting: It cannot be written.
    """
    folder = Path(folder)
    header, rows = found.rows()
    figure = draw_layers(found, title)
    with writing_into(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "layers.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        if figure is not None:
            figure.savefig(folder / "layers.png", dpi=130)
    return folder


def draw_layers(found: LayerDerivatives, title: str = "") -> Any:
    """Draw the shares and the magnitudes of the layers, from the input down to the output.

    Of many layers those with the largest share of any generator are drawn, and the others are summed.

    Args:
        found: What the layers contribute.
        title: Above the picture.

    Returns:
        A matplotlib ``Figure``, or None where matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    shown = _choose_rows(found)
    hidden = [i for i in range(len(found.layers)) if i not in shown]
    shares, sizes, errors = (t[shown] for t in (found.share, found.magnitude, found.magnitude_se))
    labels = [f"{found.layers[i]}  {found.kinds[i]}".strip() for i in shown]
    if hidden:
        labels.append(f"({len(hidden)} further layers)")
        shares = torch.cat((shares, found.share[hidden].sum(0, keepdim=True)))
    count = len(found.generators)
    height = max(3.0, 1.3 + len(labels) * (0.16 + _BAR * count))
    figure: Any = Figure(figsize=(11.5, height), layout="constrained", facecolor="white")
    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold", color=INK, x=0.01, ha="left")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1.0])
    thickness = 0.8 / count
    # what is far below the whole would only stretch the axis
    floor = _SMALLEST * float(found.total.max())
    seen = sizes[sizes > floor]
    for k, name in enumerate(found.generators):
        colour = _COLOURS[k % len(_COLOURS)]
        places = [row + (k - (count - 1) / 2) * thickness for row in range(len(labels))]
        left.barh(places, shares[:, k].tolist(), height=0.9 * thickness, color=colour, label=name.replace("_", " "))
        drawn = [i for i in range(len(shown)) if float(sizes[i, k]) > floor]
        right.errorbar(
            [float(sizes[i, k]) for i in drawn], [places[i] for i in drawn],
            xerr=[[min(float(errors[i, k]), 0.9 * float(sizes[i, k])) for i in drawn],
                  [float(errors[i, k]) for i in drawn]],
            fmt="o", markersize=4, linewidth=1.2, color=colour,
        )  # fmt: skip
    left.axvline(0, color=GREY, linewidth=0.8)
    left.set_yticks(range(len(labels)), labels)
    left.set_ylim(len(labels) - 0.5, -0.5)
    right.set_xscale("log")
    if len(seen):
        right.set_xlim(float(seen.min()) / 3, float((sizes + errors).max()) * 2)
    for axes in (left, right):
        axes.grid(color=FAINT, linewidth=0.6, axis="x")
        axes.set_axisbelow(True)
    dress(left, "Share of the violation (sums to 1)", "signed share")
    dress(right, "Size of the contribution", "mean square at the output, with standard error")
    left.legend(fontsize=9, frameon=False, labelcolor=INK, loc="best")
    return figure


def _choose_rows(found: LayerDerivatives) -> list[int]:
    """Take the layers with the largest shares, in the order of the network; what lies between is kept."""
    largest = found.share.abs().amax(1)
    order = largest.argsort(descending=True).tolist()
    kept = set(order[: MOST_LAYERS - 1]) | {found.layers.index(BETWEEN)}
    return sorted(kept)
