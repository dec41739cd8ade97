"""The page of a report: one file that needs no other, readable by everybody."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lightning_symmetry.discovery import Discovery, LearntLaw
from lightning_symmetry.report import page as page_module
from lightning_symmetry.report.markup import write_math, write_table
from lightning_symmetry.report.page import write_page
from lightning_symmetry.report.palette import for_words
from lightning_symmetry.report.pictures import Picture
from tests.report.discoveries import EXTRACTIONS
from tests.report.test_report import discover, learnt_law, normal

VOID = {"meta", "img", "br", "link", "hr", "input"}
HOSTILE = "<script>alert('x')</script>\"&amp; </style><b>"
PIXEL = Picture("spectrum.png", f"a caption {HOSTILE}", f"an alternative {HOSTILE}", b"\x89PNG not really")


class Reader(HTMLParser):
    """Checks that tags are balanced, and collects what is there."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.text = ""
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        if "style" not in self.open:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


RESULTS: dict[str, Any] = {name: (lambda make=make: make()[0]) for name, make in EXTRACTIONS.items()}
RESULTS["learnt"] = lambda: discover("SO(2) on vector(2) -> scalar", normal(32, 4))
RESULTS["law"] = lambda: learnt_law()[0]


@pytest.fixture(params=RESULTS)
def result(request: pytest.FixtureRequest) -> Discovery | LearntLaw:
    return RESULTS[request.param]()


def test_it_is_balanced_html(result: Discovery | LearntLaw) -> None:
    page = write_page(result, [PIXEL])
    reader = read(page)
    assert page.startswith("<!DOCTYPE html>") and not reader.wrong and not reader.open
    assert [name for name, _ in reader.tags].count("h1") == 1


def test_it_loads_nothing(result: Discovery | LearntLaw) -> None:
    page = write_page(result, [PIXEL])
    reader = read(page)
    names = {name for name, _ in reader.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for _, attrs in reader.tags:
        assert not [key for key in attrs if key.startswith("on")]
        for key in ("src", "href", "srcset", "data", "poster"):
            assert str(attrs.get(key, "data:")).startswith("data:")
    assert "url(" not in page and "@import" not in page
    (policy,) = [a["content"] for a in reader.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and "default-src 'none'" in policy


def test_the_conclusion_comes_first(result: Discovery | LearntLaw) -> None:
    reader = read(write_page(result))
    body = reader.text[reader.text.index(result.name, 1) :]
    assert result.conclusion[1:] in body
    assert body.index(result.conclusion[1:]) < body.index("Use it again" if "Use it again" in body else "Written by")


def test_every_cell_of_the_table_is_there(result: Discovery | LearntLaw) -> None:
    reader = read(write_page(result))
    header, rows = result.rows()
    header = header if rows else []
    for cell in [*header, *(cell for row in rows for cell in row)]:
        assert cell in reader.cells or not cell
    for note in result.notes:
        assert note in reader.text


@pytest.mark.parametrize("name", EXTRACTIONS)
def test_what_was_measured_is_told(name: str) -> None:
    found, _ = EXTRACTIONS[name]()
    text = read(write_page(found)).text
    spectrum = found.spectrum
    assert spectrum is not None
    for words in (
        str(spectrum.samples),
        f"{spectrum.folds} folds",
        f"{spectrum.delta:g}",
        spectrum.unit,
        found.held_out,
    ):
        assert words in text
    for fact in found.facts():
        assert fact in text
    for named in found.canonical_names:
        assert named in text or "d/d" in named
    assert ("No symmetry was declared" in text) == (not spectrum.declared)
    assert ("Symmetry.load" in text) == bool(spectrum.declared)


def test_hostile_words_stay_words() -> None:
    found, _ = EXTRACTIONS["lorentz"]()
    generators = tuple(dataclasses.replace(g, name=HOSTILE) for g in found.generators)
    names = tuple(HOSTILE for _ in found.canonical_names)
    spectrum = dataclasses.replace(found.spectrum, unit=HOSTILE) if found.spectrum else None
    found = dataclasses.replace(
        found,
        name=HOSTILE,
        notes=(HOSTILE,),
        held_out=HOSTILE,
        generators=generators,
        canonical_names=names,
        spectrum=spectrum,
    )
    clean, page = write_page(EXTRACTIONS["lorentz"]()[0], [PIXEL]), write_page(found, [PIXEL])
    reader = read(page)
    assert [name for name, _ in reader.tags if name != "sup"].count("script") == 0
    assert not reader.wrong and not reader.open
    assert page.count("<b>") == 0 and page.count("</style>") == 1
    (image,) = reader.named("img")
    assert image["alt"] == PIXEL.alt and set(image) == {"alt", "src"}
    assert HOSTILE in reader.text
    assert clean.count("<section>") == page.count("<section>")


def test_pictures_are_embedded_whole() -> None:
    page = write_page(EXTRACTIONS["digits"]()[0], [PIXEL, dataclasses.replace(PIXEL, file="x.png", on_page=False)])
    (image,) = read(page).named("img")
    assert base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,")) == PIXEL.png


def test_everybody_can_read_it(result: Discovery | LearntLaw) -> None:
    reader = read(write_page(result, [PIXEL]))
    assert reader.named("html") == [{"lang": "en"}]
    assert reader.named("title") and any(a.get("name") == "viewport" for a in reader.named("meta"))
    assert all(image.get("alt") for image in reader.named("img"))
    assert len(reader.named("caption")) == len(reader.named("table"))
    assert all(cell.get("scope") in ("col", "row") for cell in reader.named("th"))


def luminance(colour: str) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_words_stand_out_from_the_paper_in_every_light() -> None:
    """4.5 is what WCAG 2 asks of text of ordinary size."""
    css = Path(page_module.__file__).with_name("page.css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)]
    assert len(schemes) == 3
    for scheme in schemes:
        for words in ("ink", "quiet", "yes", "open", "no", "accent"):
            for paper in ("paper", "tint"):
                assert contrast(scheme[words], scheme[paper]) >= 4.5, (words, paper)


def test_words_in_pictures_stand_out_from_white() -> None:
    from lightning_symmetry.report import palette

    for name in ("GREEN", "ORANGE", "GREY", "VERMILLION", "PURPLE", "BLUE", "INK", "SLATE"):
        assert contrast(for_words(getattr(palette, name)), "#FFFFFF") >= 4.5, name


def test_formulas_are_set_with_real_symbols() -> None:
    assert write_math("x^2 d/dx - <y> d/dy") == "x<sup>2</sup> ∂<sub>x</sub> − &lt;y&gt; ∂<sub>y</sub>"


def test_numbers_are_flush_right_and_words_are_not() -> None:
    table = write_table("some", ["name", "defect", "interval"], [["a", "0.1", "0.05 to 0.2"], ["b", "-", "1 to 2"]])
    assert '<td class="number">0.1</td>' in table and '<td class="number">1 to 2</td>' in table
    assert "<td>a</td>" in table
