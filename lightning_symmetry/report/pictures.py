"""Every picture of a report, drawn and in words."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, final

from lightning_symmetry.discovery import Discovery, LearntLaw
from lightning_symmetry.report.algebras import MOST_DRAWN, draw_algebra_sheet
from lightning_symmetry.report.formulas import algebra_of
from lightning_symmetry.report.laws import draw_law
from lightning_symmetry.report.orbits import shows_images
from lightning_symmetry.report.plots import draw_discovery
from lightning_symmetry.report.sheets import (
    DPI,
    MOST_FIELDS,
    MOST_ORBITS,
    choose_samples,
    draw_fields_sheet,
    draw_orbits_sheet,
    draw_spectrum_sheet,
)
from lightning_symmetry.report.spectra import describe_spectrum

OVERVIEW = "symmetry.png"
FILES = (OVERVIEW, "spectrum.png", "fields.png", "orbits.png", "algebra.png")
_OVERVIEW_DPI = 130


@final
@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Args:
        file: Its name in the folder.
        caption: What is drawn and how to read it.
        alt: What it shows, for those who cannot see it.
        png: The file's content.
        on_page: Whether the page shows it; others show on one slide what the page has in parts.
    """

    file: str
    caption: str
    alt: str
    png: bytes
    on_page: bool = True


def draw_pictures(discovery: Discovery | LearntLaw, samples: Any = None) -> list[Picture]:
    """Draw all pictures that apply.

    Args:
        discovery: What was found, or a learnt law.
        samples: Input structure; its first three rows show what the generators do.

    Returns:
        The pictures in the order of the page; none where matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        return []
    if isinstance(discovery, LearntLaw):
        alt = f"Bars and curves of the half-widths. {discovery.conclusion}"
        return [
            _make(OVERVIEW, "The ranges, and how training came to them.", alt, lambda: draw_law(discovery, samples))
        ]
    spectrum = discovery.spectrum
    pictures = [
        Picture(
            OVERVIEW,
            "Each generator and what it makes of real samples; below, the evidence and how training came to it.",
            f"Vector fields, orbits, evidence and training curves. {discovery.conclusion}",
            render(draw_discovery(discovery, samples), _OVERVIEW_DPI),
            on_page=spectrum is None,
        )
    ]
    if spectrum is not None and spectrum.directions:
        caption = (
            "Every candidate direction, the most symmetric first, with its 95 % interval. Green ones are declared: the "
            "one-sided bound of their defect lies below the dashed line."
        )
        pictures.append(
            _make("spectrum.png", caption, describe_spectrum(spectrum), lambda: draw_spectrum_sheet(discovery))
        )
    if not discovery.canonical_names:
        return pictures
    few, backdrop = choose_samples(discovery, samples)
    names = discovery.canonical_names
    listed = "; ".join(names)
    pictures.append(
        _make(
            "fields.png",
            f"The generators{_count(names, MOST_FIELDS)} as fields: how points start to move, scaled to fit.",
            f"Fields or matrices of the generators found: {listed}.",
            lambda: draw_fields_sheet(discovery, backdrop),
            on_page=spectrum is not None,
        )
    )
    orbits = None if few is None else draw_orbits_sheet(discovery, few)
    if orbits is not None:
        what = "images" if shows_images(discovery.symmetry) else "points"
        caption = (
            f"Real {what}, carried along each generator{_count(names, MOST_ORBITS)}; the framed or dotted one is the "
            "sample itself."
        )
        alt = f"Orbits of up to three samples under: {listed}."
        pictures.append(_make("orbits.png", caption, alt, lambda: orbits, on_page=spectrum is not None))
    algebra = algebra_of(discovery)
    if algebra is not None and 1 < algebra.dim <= MOST_DRAWN:
        caption = "The algebra: a readable basis, the bracket of each row with each column, and the Killing form."
        alt = f"Table of brackets and Killing form. {algebra.conclusion} {'; '.join(algebra.facts())}"
        pictures.append(_make("algebra.png", caption, alt, lambda: draw_algebra_sheet(algebra, discovery.symmetry)))
    return pictures


def _count(names: Sequence[str], most: int) -> str:
    return f" (the first {most} of {len(names)})" if len(names) > most else ""


def _make(file: str, caption: str, alt: str, draw: Callable[[], Any], on_page: bool = True) -> Picture:
    return Picture(file, caption, alt, render(draw()), on_page)


def render(figure: Any, dpi: int = DPI) -> bytes:
    """Give the content of a figure's PNG file."""
    sink = io.BytesIO()
    figure.savefig(sink, dpi=dpi, format="png")
    return sink.getvalue()
