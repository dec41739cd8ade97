"""The picture of a spectrum shows the numbers of the spectrum, all of them and no others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lightning_symmetry.discovery.spectrum import Direction, Spectrum
from lightning_symmetry.report.palette import GREEN, SLATE
from lightning_symmetry.report.spectra import FLOOR, describe_spectrum, draw_spectrum
from tests.report.discoveries import EXTRACTIONS, make_spectrum

SPECTRA = {name: make()[0].spectrum for name, make in EXTRACTIONS.items()}


def draw(spectrum: Spectrum, found: str = "") -> Any:
    axes = Figure().subplots()
    draw_spectrum(axes, spectrum, found)
    return axes


def lines(axes: Any, kind: str) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_gid() == kind]


def words(axes: Any) -> str:
    return " ".join(text.get_text() for text in axes.texts)


@pytest.mark.parametrize("name", SPECTRA)
def test_every_defect_is_where_it_says(name: str) -> None:
    spectrum = SPECTRA[name]
    points = lines(draw(spectrum), "defect")
    assert [float(p.get_xdata()[0]) for p in points] == list(range(len(spectrum.directions)))
    for point, direction in zip(points, spectrum.directions, strict=True):
        height = float(point.get_ydata()[0])
        # what is too small to be drawn stands on the floor, hollow
        hollow = point.get_markerfacecolor() == "white"
        assert hollow or height == direction.defect
        assert not hollow or height >= max(direction.defect, FLOOR)


@pytest.mark.parametrize("name", SPECTRA)
def test_exactly_the_declared_ones_are_green(name: str) -> None:
    spectrum = SPECTRA[name]
    colours = [to_hex(p.get_markeredgecolor()).upper() for p in lines(draw(spectrum), "defect")]
    d = spectrum.declared
    assert colours == [GREEN] * d + [SLATE] * (len(spectrum.directions) - d)


@pytest.mark.parametrize("name", ["lorentz", "digits", "none"])
def test_intervals_and_null_are_drawn_as_measured(name: str) -> None:
    spectrum = SPECTRA[name]
    axes = draw(spectrum)
    bars = [tuple(map(float, bar.get_ydata())) for bar in lines(axes, "interval")]
    assert bars == [(d.low, d.high) for d in spectrum.directions]
    (null,) = lines(axes, "null")
    assert tuple(map(float, null.get_ydata())) == spectrum.null


def test_the_bound_and_the_gap_are_written_down() -> None:
    spectrum = SPECTRA["lorentz"]
    axes = draw(spectrum, "6 generators")
    assert any(list(line.get_ydata()) == [spectrum.delta] * 2 for line in axes.get_lines())
    assert "0.1" in words(axes) and f"{spectrum.gap:.3g}" in words(axes) and "6 generators" in words(axes)


@pytest.mark.parametrize("name", SPECTRA)
def test_everything_lies_within_the_axis(name: str) -> None:
    spectrum = SPECTRA[name]
    if not spectrum.directions:
        return
    axes = draw(spectrum, "found")
    low, high = axes.get_ylim()
    drawn = [
        float(y) for kind in ("defect", "interval", "null") for line in lines(axes, kind) for y in line.get_ydata()
    ]
    assert low < min(drawn) and max(drawn) < high
    assert axes.get_yscale() == "log"


def test_kinds_differ_by_shape_where_there_are_several() -> None:
    shapes = [p.get_marker() for p in lines(draw(SPECTRA["cloud"]), "defect")]
    assert len(set(shapes[:3])) == 3
    assert len({p.get_marker() for p in lines(draw(SPECTRA["digits"]), "defect")}) == 1
    explained = {text.get_text() for text in draw(SPECTRA["cloud"]).get_legend().get_texts()}
    assert {"equivariance", "invariance", "homogeneity of degree 1"} <= explained


def test_a_refusal_is_written_instead() -> None:
    axes = draw(SPECTRA["refused"])
    assert "hardly depends" in words(axes) and not lines(axes, "defect")


def test_numbers_that_are_not_finite_do_not_break_the_picture() -> None:
    odd = Direction(defect=float("nan"), low=0.0, high=float("inf"), upper=float("inf"))
    spectrum = make_spectrum([0.01, 0.5], 1)
    axes = draw(dataclasses.replace(spectrum, directions=(*spectrum.directions, odd)))
    assert len(lines(axes, "defect")) == 3


@pytest.mark.parametrize("name", SPECTRA)
def test_the_description_says_how_many_of_how_many(name: str) -> None:
    spectrum = SPECTRA[name]
    text = describe_spectrum(spectrum)
    if spectrum.refused:
        assert spectrum.refused in text
    else:
        assert f"{len(spectrum.directions)} candidate" in text
        assert (f"{spectrum.declared} declared" if spectrum.declared else "none declared") in text
