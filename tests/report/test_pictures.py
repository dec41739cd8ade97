"""The pictures of an extraction, and the folder that holds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_symmetry.discovery import Discovery
from lightning_symmetry.report import pictures as pictures_module
from lightning_symmetry.report import write_report
from lightning_symmetry.report.folder import PAGE
from lightning_symmetry.report.orbits import has_orbits
from lightning_symmetry.report.pictures import FILES, draw_pictures
from lightning_symmetry.symmetry import Symmetry
from tests.report.discoveries import EXTRACTIONS, normal
from tests.report.test_report import discover, learnt_law

KEPT = {"report.json", "symmetry.yaml", "symmetry.safetensors", PAGE}
FOUND = {"fields.png", "orbits.png"}


def listed(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"algebra.png"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found, x = EXTRACTIONS["digits"]()
    return write_report(found, tmp_path_factory.mktemp("digits"), x)


def check_folder(folder: Path, found: Discovery) -> None:
    assert found.spectrum is not None
    drawn = {"spectrum.png"} if found.spectrum.directions else set()
    assert listed(folder) == KEPT | {"symmetry.png"} | drawn | (FOUND if found.canonical_names else set())
    page = (folder / PAGE).read_text(encoding="utf-8")
    assert len(page) < 2_000_000
    assert page.count("<figure>") == len(list(folder.glob("*.png"))) - 1
    for file in folder.glob("*.png"):
        assert file.read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "report.json").read_text())["conclusion"] == found.conclusion


def test_an_extraction_leaves_what_applies(written: Path) -> None:
    check_folder(written, EXTRACTIONS["digits"]()[0])


@pytest.mark.parametrize(
    "name", [n if n == "refused" else pytest.param(n, marks=pytest.mark.slow) for n in EXTRACTIONS]
)
def test_every_extraction_leaves_what_applies(name: str, tmp_path: Path) -> None:
    found, x = EXTRACTIONS[name]()
    check_folder(write_report(found, tmp_path, x), found)


def test_the_same_discovery_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    found, x = EXTRACTIONS["digits"]()
    write_report(found, tmp_path, x)
    for file in written.iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name


def test_what_no_longer_applies_does_not_stay(tmp_path: Path) -> None:
    for file in (*FILES, "mine.png"):
        (tmp_path / file).write_bytes(b"of an earlier run")
    found, x = EXTRACTIONS["refused"]()
    write_report(found, tmp_path, x)
    assert listed(tmp_path) == KEPT | {"symmetry.png", "mine.png"}
    assert (tmp_path / "symmetry.png").read_bytes() != b"of an earlier run"


def test_without_matplotlib_the_page_has_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "find_spec", lambda name: None)
    found, x = EXTRACTIONS["lorentz"]()
    write_report(found, tmp_path, x)
    assert listed(tmp_path) == KEPT
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "<img" not in page and "<table>" in page


def test_every_picture_is_described() -> None:
    for found, x in (EXTRACTIONS["refused"](), learnt_law()):
        for picture in draw_pictures(found, x):
            assert picture.file in FILES
            assert len(picture.alt) > 20 and len(picture.caption) > 20 and picture.alt != picture.caption


def test_a_learnt_symmetry_shows_its_overview_on_the_page(tmp_path: Path) -> None:
    x = normal(32, 4)
    write_report(discover("SO(2) on vector(2) -> scalar", x), tmp_path, x)
    assert listed(tmp_path) == KEPT | FOUND | {"symmetry.png"}
    assert (tmp_path / PAGE).read_text(encoding="utf-8").count("<figure>") == 1


def test_orbits_are_drawn_only_of_points_of_the_space() -> None:
    x = normal(4, 6)
    assert has_orbits(Symmetry.parse("SO(3) on vector -> scalar").bind(x), x)
    found, x = EXTRACTIONS["digits"]()
    assert has_orbits(found.symmetry, x)
