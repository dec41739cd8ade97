"""One picture of a discovery: fields, orbits, evidence, training."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.discovery import Discovery
from lightning_symmetry.discovery.naming import name_in
from lightning_symmetry.discovery.spectrum import Spectrum
from lightning_symmetry.report.curves import draw_evidence, draw_losses, draw_norms
from lightning_symmetry.report.fields import draw_field, draw_matrix
from lightning_symmetry.report.formulas import name_found
from lightning_symmetry.report.orbits import choose_span, draw_orbit, has_orbits, shows_images
from lightning_symmetry.report.palette import GREY, INK, VERDICTS, for_words
from lightning_symmetry.report.sheets import choose_samples, draw_fields, draw_orbits, new_sheet, sentence_case, wrap
from lightning_symmetry.report.spectra import draw_spectrum

MOST_GENERATORS = 6
_WIDTH, _ROW, _FOOT, _MAIN = 13.0, 3.1, 3.4, 5.0
# Shares of field, orbit and matrix, by what is moved: images, or spaces of so many dimensions (4: four or more).
_WIDTHS: dict[int | str, list[float]] = {
    "image": [1.0, 1.95, 0.05],
    1: [1.0, 1.2, 0.8],
    2: [1.0, 1.2, 0.8],
    3: [1.75, 1.0, 0.65],
    4: [1.2, 1.4, 0.4],
}


def draw_discovery(discovery: Discovery, samples: Any = None) -> Any:
    """Draw each generator's field and orbit, the evidence, and the curves of training; of an extraction, the spectrum.

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
    few, backdrop = choose_samples(discovery, samples)
    spectrum = discovery.spectrum
    if spectrum is not None:
        return _draw_extraction(discovery, spectrum, few, backdrop)
    shown = min(discovery.symmetry.group.count, MOST_GENERATORS)
    title, head, notes, tail = _frame(discovery, shown)
    figure = new_sheet(head + _ROW * shown + _FOOT + tail, _WIDTH)
    parts = figure.subfigures(shown + 3, 1, height_ratios=[head, *[_ROW] * shown, _FOOT, tail])
    _write(parts[0], title, parts[-1], notes)
    for index in range(shown):
        _draw_generator(parts[1 + index], discovery, index, few, backdrop)
    draw_training(parts[-2], discovery)
    return figure


def _draw_extraction(discovery: Discovery, spectrum: Spectrum, few: Any, backdrop: Tensor | None) -> Any:
    """Draw the spectrum beside the fields, and the first orbits below."""
    found = len(discovery.canonical_names)
    shown = min(found, MOST_GENERATORS)
    title, head, notes, tail = _frame(discovery, shown)
    orbits = shown > 0 and few is not None and has_orbits(discovery.symmetry, few)
    heights = [head, _MAIN, *[_ROW] * orbits, tail]
    figure = new_sheet(sum(heights), _WIDTH)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights)
    _write(parts[0], title, parts[-1], notes)
    left, right = parts[1].subfigures(1, 2, width_ratios=[1.25, 1.0]) if shown else (parts[1], None)
    draw_spectrum(left.subplots(), spectrum, name_found(discovery))
    if right is not None:
        columns = 1 if shown <= 2 else 2 if shown <= 4 else 3
        draw_fields(right, discovery, shown, columns, backdrop, _WIDTH / 2.25)
    if orbits:
        # boxes and images are wider than curves in a plane
        roomy = shows_images(discovery.symmetry) or discovery.symmetry.group.dim == 3
        columns = min(found, 3 if roomy else 4)
        draw_orbits(parts[2], discovery, few, columns, columns, _WIDTH)
    return figure


def _frame(discovery: Discovery, shown: int) -> tuple[str, float, list[str], float]:
    """The title and the notes, and the height that each needs."""
    title = wrap(sentence_case(discovery.conclusion), 108)
    notes = [wrap(note, 150) for note in (*discovery.notes, *_count_hidden(discovery, shown))]
    return title, 0.55 + 0.25 * title.count("\n"), notes, 0.1 + 0.22 * sum(note.count("\n") + 1 for note in notes)


def _write(top: Any, title: str, bottom: Any, notes: list[str]) -> None:
    top.text(0.01, 0.5, title, fontsize=14, fontweight="bold", color=INK, va="center")
    bottom.text(0.01, 0.5, "\n".join(notes), fontsize=10, color=for_words(GREY), va="center")


def _draw_generator(figure: Any, discovery: Discovery, index: int, few: Any, backdrop: Tensor | None) -> None:
    symmetry, group = discovery.symmetry, discovery.symmetry.group
    generator, dim = group.coefficients()[index], group.dim or group.coefficients().shape[1]
    if discovery.accepted:
        naming = discovery.canonical_names[index]
        title, colour = sentence_case(naming), VERDICTS["accepted"]
    else:
        evidence = discovery.generators[index]
        name = name_in(group, generator).name
        title = f"Generator {index} ({evidence.verdict}, norm {evidence.norm:.2g}): {name}"
        colour = VERDICTS[evidence.verdict]
    pictures = shows_images(symmetry)
    left, middle, right = figure.subfigures(1, 3, width_ratios=_WIDTHS["image" if pictures else min(dim, 4)])
    left.suptitle(
        wrap(title, 60 if dim == 3 else 36), fontsize=12, fontweight="bold", color=for_words(colour), x=0.03, ha="left"
    )
    if float(torch.linalg.matrix_norm(generator)) < 1e-9:
        left.text(0.5, 0.5, "vanished", ha="center", color=for_words(GREY))
        return
    draw_field(left, generator, dim, group.affine, backdrop)
    if dim == 3:
        left.text(0.03, 0.02, "arrows: within the plane; colour: out of it", fontsize=9, color=for_words(GREY))
    if not pictures and dim <= 3:
        right.suptitle("Generator", fontsize=11, color=INK, x=0.05, ha="left")
        draw_matrix(right, generator, dim)
    if few is None:
        middle.text(0.5, 0.5, "no samples were given, so no orbits", ha="center", color=for_words(GREY))
        return
    reach, angular = choose_span(symmetry, index)
    what = "up to half a turn either way" if angular else f"coefficients up to {reach:g} either way"
    middle.suptitle(f"Real samples, {what}", fontsize=11, color=INK, x=0.03, ha="left")
    draw_orbit(middle, few, symmetry, index)


def draw_training(figure: Any, discovery: Discovery) -> None:
    """Draw the evidence, and the curves where training left any.

    Args:
        figure: A matplotlib (sub)figure.
        discovery: What was found.
    """
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


def _count_hidden(discovery: Discovery, shown: int) -> list[str]:
    total = discovery.symmetry.group.count if discovery.spectrum is None else len(discovery.canonical_names)
    return [f"{total - shown} further generators are not drawn."] if total > shown else []
