"""What a finished run leaves behind."""

from __future__ import annotations

import builtins
import importlib.util
import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.discovery import Discovery, LearntLaw, assemble, describe_law
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import SE, Affine
from lightning_symmetry.report import folder as folder_module
from lightning_symmetry.report import format_table, page, pictures, plots, print_discovery, sheets, tables, write_report
from lightning_symmetry.report.orbits import follow_orbit
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry

FILES = ["report.html", "report.json", "symmetry.png", "symmetry.safetensors", "symmetry.yaml"]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def discover(sentence: str, x: Any, scale: float = 1.0) -> Discovery:
    symmetry = Symmetry.parse(sentence)

    def f(x: Any) -> Tensor:
        leaf = symmetry.leading(x)
        return leaf.flatten(1).square().sum(1)

    symmetry.bind(x)
    if symmetry.learnable:
        with torch.no_grad():
            for parameter in symmetry.group.parameters():
                parameter.mul_(scale)
    prefix = symmetry.name
    history = {"step": [0.0, 1.0, 2.0], f"{prefix}/norm_0": [0.4, 1.0, 2.0], f"{prefix}/equivariance": [1.0, 0.1, 0.01]}
    return assemble(f, x, symmetry, history=history)


@pytest.fixture(scope="module")
def planar() -> tuple[Discovery, Tensor]:
    x = normal(32, 4)
    return discover("SO(2) on vector(2) -> scalar", x), x


CASES = {
    "plane": ("SO(2) on vector(2) -> scalar", normal(32, 4)),
    "space": ("SO(3) on vector -> scalar", normal(32, 3)),
    "points": ("learned(2) on points -> scalar", normal(32, 5, 2)),
    "line": ("Scale on points -> scalar", normal(32, 5, 1)),
    "eight": ("learned(1, blocks=2) on vector -> scalar", normal(32, 8)),
    "grey image": ("learned(1) on image -> scalar", normal(8, 1, 9, 7)),
    "colour image": ("SE(2) on picture=image -> scalar", {"picture": normal(8, 3, 8, 8), "id": torch.arange(8)}),
    "many generators": ("GL(3) on vector -> scalar", normal(16, 3)),
    "two samples": ("SO(2) on vector -> scalar", normal(2, 2)),
}


QUICK = ("plane", "eight", "grey image")


@pytest.mark.parametrize("case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
def test_a_report_is_a_folder_without_pickles(case: str, tmp_path: Path) -> None:
    sentence, x = CASES[case]
    found = discover(sentence, x)
    assert write_report(found, tmp_path, x) == tmp_path
    drawn = ["fields.png", "orbits.png"] if found.canonical_names else []
    assert {p.name for p in tmp_path.iterdir()} - {"algebra.png"} == {*FILES, *drawn}
    assert (tmp_path / "symmetry.png").read_bytes().startswith(b"\x89PNG")
    assert Symmetry.load(tmp_path).group.count == found.symmetry.group.count
    assert Discovery.load(tmp_path).conclusion == found.conclusion


def test_generators_that_vanished_and_missing_samples_are_drawn_too(tmp_path: Path) -> None:
    found = discover("learned(2) on vector -> scalar", normal(16, 2), scale=0.0)
    assert found.verdict == "absent"
    write_report(found, tmp_path)
    assert (tmp_path / "symmetry.png").exists()


def test_a_folder_that_cannot_be_written_is_explained(planar: tuple[Discovery, Tensor], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSetting, match="cannot be written"):
        write_report(planar[0], tmp_path / "file" / "folder", planar[1])
    (tmp_path / "taken" / "symmetry.png").mkdir(parents=True)
    with pytest.raises(InvalidSetting, match="cannot be written"):
        write_report(planar[0], tmp_path / "taken", planar[1])


def test_without_matplotlib_the_picture_is_skipped_with_a_note(
    planar: tuple[Discovery, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with caplog.at_level("INFO", logger=folder_module.__name__):
        write_report(planar[0], tmp_path, planar[1])
    assert not (tmp_path / "symmetry.png").exists() and "matplotlib" in caplog.text


def test_the_package_reports_without_importing_matplotlib_or_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        assert name.split(".")[0] not in ("matplotlib", "rich"), f"{name} is imported eagerly"
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    for module in (plots, tables, folder_module, pictures, sheets, page):
        spec = importlib.util.spec_from_file_location("fresh", str(module.__file__))
        assert spec is not None and spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "fresh", fresh)
        spec.loader.exec_module(fresh)


@pytest.mark.parametrize("rich", [True, False])
def test_tables_hold_every_cell(rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not rich:
        monkeypatch.setattr(tables, "find_spec", lambda name: None)
    text = format_table(["reads as", "norm"], [["rotation", "2.22"], ["a [bracket]", "0.1"]], title="found")
    for cell in ("found", "reads as", "rotation", "2.22", "a [bracket]", "0.1"):
        assert cell in text
    assert "\x1b" not in text and text.endswith("\n")


def test_printing_says_everything(planar: tuple[Discovery, Tensor]) -> None:
    sink = io.StringIO()
    print_discovery(planar[0], "some/folder", sink)
    for words in ("rotation", "accepted", planar[0].conclusion, "some/folder", "support"):
        assert words in sink.getvalue()


def test_an_orbit_is_the_flow_at_unit_speed() -> None:
    x = normal(2, 2)
    symmetry = Symmetry.parse("learned on vector -> scalar").bind(x)
    with torch.no_grad():
        symmetry.group.weight.copy_(torch.tensor([[[0.0, -5.0], [5.0, 0.0]]]))  # type: ignore[union-attr]
    steps = torch.tensor([0.0, math.pi / 2])
    moved = follow_orbit(x, symmetry, 0, steps).reshape(2, 2, 2)
    torch.testing.assert_close(moved[:, 0], x)
    torch.testing.assert_close(moved[:, 1], torch.stack((-x[:, 1], x[:, 0]), 1), atol=1e-5, rtol=1e-5)


def test_pyplot_is_left_alone(planar: tuple[Discovery, Tensor]) -> None:
    import matplotlib

    def settings() -> dict[str, Any]:
        return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}

    before = settings()
    assert plots.draw_discovery(*planar) is not None
    assert settings() == before


def learnt_law() -> tuple[LearntLaw, Tensor]:
    x = normal(8, 1, 16, 16)
    symmetry = Symmetry(Uniform(Affine(2), [0.7854, 0.1, 0.6931, 0.1, 0.25, 0.1], learnable=True), "image", "label")
    curve = [0.3, 0.4, 0.5]
    history = {"step": [1.0, 2.0, 3.0], **{f"{symmetry.name}/width_{k}": curve for k in ("rotation", "shear")}}
    return describe_law(symmetry, x, history), x


def test_ranges_are_told_in_units_that_people_use() -> None:
    law, _ = learnt_law()
    words = {g.name: g.words for g in law.generators}
    assert list(words) == ["rotation", "shear", "scaling", "stretch", "translation x", "translation y"]
    assert words["rotation"] == "±45°" and words["scaling"] == "factors 0.5 to 2"
    # coordinates run from -1 to 1 over 16 pixels
    assert words["translation x"] == "±2 px (±12.5% of the side)"
    assert law.metrics()["width_translation_x"] == pytest.approx(0.25)


def test_translations_of_points_have_the_units_of_the_points() -> None:
    symmetry = Symmetry(Uniform(SE(3), [3.1, 0.1, 0.1, 0.25, 0.1, 0.1], learnable=True), "points", "label")
    words = {g.name: g.words for g in describe_law(symmetry, torch.zeros(2, 4, 3)).generators}
    assert words["rotation about z"] == "every angle" and words["translation x"] == "±0.25"
    assert len(words) == 6


def test_a_law_leaves_a_folder_that_others_can_use(tmp_path: Path) -> None:
    law, x = learnt_law()
    write_report(law, tmp_path, x)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["law.json", *(f for f in FILES if f != "report.json")]
    again = Symmetry.load(tmp_path)
    torch.testing.assert_close(again.sampler.widths, law.symmetry.sampler.widths)
    assert not again.learnable
    text = io.StringIO()
    print_discovery(law, tmp_path, text)
    assert "±45°" in text.getvalue() and "spare" not in text.getvalue() and str(tmp_path) in text.getvalue()
