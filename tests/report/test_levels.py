"""What a training with candidate symmetries leaves behind: a table, a page, files, and the picture of the strengths."""

from __future__ import annotations

import builtins
import csv
import dataclasses
import importlib.util
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lightning_symmetry.discovery import SymmetryLevel, judge_levels, lay_out_levels, load_levels
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.report import draw_levels, levels, print_levels, strengths, write_levels
from lightning_symmetry.report.levels import write_levels_page
from lightning_symmetry.report.palette import spread_labels
from lightning_symmetry.symmetry import Symmetry
from tests.report.test_page import HOSTILE, PIXEL, read

FILES = ["levels.csv", "levels.html", "levels.json", "levels.png"]
ADJUSTED = 1000.0


def train(count: int) -> tuple[tuple[SymmetryLevel, ...], dict[str, list[float]]]:
    """A made-up training: equal strengths, one adjustment, symmetries that are measured in turns."""
    names = [f"candidate_{k}" for k in range(count)]
    steps = [50.0 * i for i in range(60)]
    # the last two strengths are alike
    last = [100 * 10.0 ** (-min(k, max(count - 2, 0))) for k in range(count)]
    curves = {"step": steps}
    for k, name in enumerate(names):
        curves[f"{name}/strength"] = [100.0 if step < ADJUSTED else last[k] for step in steps]
        curves[f"{name}/equivariance"] = [
            0.1 ** (1 / (k + 1)) / (1 + step) if i % count == k else math.nan for i, step in enumerate(steps)
        ]
    symmetries = [Symmetry.parse("SO(2) on vector(2) -> vector", name=name) for name in names]
    found = [{"error": min(0.6, 0.004 * 2.5**k), "error_se": 0.001, "null": 0.6} for k in range(count)]
    return judge_levels(symmetries, found, {"strength": last}, curves), curves


@pytest.fixture(scope="module")
def three() -> tuple[tuple[SymmetryLevel, ...], dict[str, list[float]]]:
    return train(3)


@pytest.fixture(scope="module")
def folder(three: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_levels(*three, tmp_path_factory.mktemp("levels") / "new")


def test_printing_says_everything(three: Any) -> None:
    sink = io.StringIO()
    print_levels(three[0], "some/folder", sink)
    text = sink.getvalue()
    header, rows = lay_out_levels(three[0])
    for words in [*header, *(cell for row in rows for cell in row), "some/folder", "rank correlation"]:
        assert words in text
    for level in three[0]:
        for note in level.notes:
            assert text.count(note) == 1
    assert "\x1b" not in text


def test_a_note_is_printed_once_with_all_that_it_is_of(three: Any) -> None:
    noted = [dataclasses.replace(level, notes=("the same",)) for level in three[0]]
    sink = io.StringIO()
    print_levels(noted, None, sink)
    assert "candidate_0, candidate_1, candidate_2: the same\n" in sink.getvalue() and "report" not in sink.getvalue()


def test_verdicts_have_colours_on_a_terminal(three: Any) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    pytest.importorskip("rich")
    sink = Terminal()
    print_levels(three[0], None, sink)
    assert "\x1b[32m" in sink.getvalue()


def test_the_folder_holds_it_all(three: Any, folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == FILES
    assert load_levels(folder) == three[0]
    with (folder / "levels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [level.name for level in three[0]]
    assert [float(row["level"]) for row in rows] == pytest.approx([level.level for level in three[0]])
    assert (folder / "levels.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidSetting, match="cannot be written"):
        write_levels(*three, folder / "levels.csv")


def test_the_page_needs_nothing_else(folder: Path) -> None:
    page = (folder / "levels.html").read_text(encoding="utf-8")
    reader = read(page)
    assert page.startswith("<!DOCTYPE html>") and not reader.wrong and not reader.open
    assert not {name for name, _ in reader.tags} & {"script", "link", "iframe"}
    (image,) = reader.named("img")
    assert str(image["src"]).startswith("data:image/png;base64,") and image["alt"]


def test_the_page_says_everything(three: Any) -> None:
    reader = read(write_levels_page(three[0], PIXEL))
    header, rows = lay_out_levels(three[0])
    for cell in [*header, *(cell for row in rows for cell in row)]:
        assert cell in reader.cells
    for level in three[0]:
        assert level.sentence in reader.text and f"{level.name}: {level.words}" in reader.text
        assert all(note in reader.text for note in level.notes)
    # nothing is explained that is not there
    assert "null" in reader.text and "multiplier" not in reader.text and "relaxed" not in reader.text


def test_hostile_names_stay_words(three: Any) -> None:
    named = [dataclasses.replace(level, name=HOSTILE, sentence=HOSTILE, notes=(HOSTILE,)) for level in three[0]]
    page = write_levels_page(named, PIXEL)
    reader = read(page)
    assert not reader.wrong and "<b>" not in page and page.count("</style>") == 1
    assert "script" not in [name for name, _ in reader.tags] and HOSTILE in reader.text


def test_without_matplotlib_there_is_no_picture(three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "levels.png").write_bytes(b"of an earlier run")
    monkeypatch.setattr(strengths, "find_spec", lambda name: None)
    write_levels(*three, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES[:-1]
    assert "<img" not in (tmp_path / "levels.html").read_text()


def test_nothing_heavy_is_imported_before_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        assert name.split(".")[0] not in ("matplotlib", "rich"), f"{name} is imported eagerly"
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    for module in (levels, strengths):
        spec = importlib.util.spec_from_file_location("fresh", str(module.__file__))
        assert spec is not None and spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "fresh", fresh)
        spec.loader.exec_module(fresh)


def panels(figure: Any) -> tuple[Any, Any, Any]:
    pressed, measured, ends = figure.get_axes()
    return pressed, measured, ends


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_symmetry_has_a_line_of_its_own(count: int) -> None:
    found, curves = train(count)
    figure = draw_levels(found, curves)
    pressed, measured, ends = panels(figure)
    lines = [line for line in pressed.get_lines() if len(line.get_xdata()) > 2]
    assert [list(line.get_ydata()) for line in lines] == [curves[f"{level.name}/strength"] for level in found]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == count
    assert pressed.get_yscale() == measured.get_yscale() == "log"
    # where nothing was measured, nothing is drawn
    for line, level in zip(measured.get_lines(), found, strict=False):
        values = [v for v in curves[f"{level.name}/equivariance"] if math.isfinite(v)]
        assert list(line.get_ydata()) == values or count == 1
    assert [label.get_text() for label in ends.get_yticklabels()] == [level.name for level in found]
    dashed = [list(line.get_xdata()) for line in pressed.get_lines() if len(line.get_xdata()) == 2]
    assert dashed == ([[ADJUSTED, ADJUSTED]] if count > 1 else [])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_words_neither_overlap_nor_leave_the_picture(count: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_levels(*train(count))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pressed, _, ends = panels(figure)
    width, height = canvas.get_width_height()
    for axes in (pressed, ends):
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
        assert len(boxes) >= count
        for i, box in enumerate(boxes):
            assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height
            for other in boxes[:i]:
                # a pixel of what surrounds letters may touch
                over = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
                assert min(over) <= 1


@pytest.mark.parametrize(
    "curves",
    [
        {},
        {"step": []},
        {"step": [1.0], "candidate_0/strength": [1.0]},
        {"step": [1.0, 2.0], "candidate_0/strength": [0.0, 0.0], "candidate_1/equivariance": [math.nan, 0.0]},
        {"step": [1.0, 2.0, 3.0], "candidate_0/strength": [0.0, 0.0, 5.0], "candidate_1/equivariance": [1.0, 2.0]},
    ],
    ids=["nothing", "no step", "one step", "zeros", "late"],
)
def test_poor_curves_are_drawn_as_far_as_they_go(three: Any, curves: dict[str, list[float]]) -> None:
    figure = draw_levels(three[0], curves)
    figure.canvas.draw()
    assert len(figure.get_axes()) == 3


def test_what_joined_later_ends_with_the_others(three: Any) -> None:
    curves = {"step": [1.0, 2.0, 3.0], "candidate_1/equivariance": [1.0, 2.0]}
    (line,) = panels(draw_levels(three[0], curves))[1].get_lines()
    assert list(line.get_xdata()) == [2.0, 3.0]


def test_levels_that_are_not_finite_or_beyond_the_edges_are_drawn(three: Any) -> None:
    odd = [
        dataclasses.replace(three[0][0], error=math.nan),
        dataclasses.replace(three[0][1], error=0.0, error_se=math.nan),
        dataclasses.replace(three[0][2], error=0.9, null=0.1, floor=0.02),
    ]
    figure = draw_levels(odd, three[1])
    figure.canvas.draw()
    assert "ticks" in panels(figure)[2].get_xlabel()


@pytest.mark.parametrize("heights", [[0.1, 0.9], [0.5] * 5, [0.0, 0.01, 0.5, 0.51, 0.52, 1.0], [0.3]])
def test_labels_move_apart_as_little_as_possible(heights: Sequence[float]) -> None:
    places = spread_labels(heights, 0.1)
    ordered = sorted(places)
    assert all(b - a >= 0.1 - 1e-9 for a, b in zip(ordered, ordered[1:], strict=False))
    assert sorted(range(len(heights)), key=lambda i: (heights[i], places[i])) == sorted(
        range(len(heights)), key=lambda i: places[i]
    )
    # the mean place of what moved together stays
    assert sum(places) == pytest.approx(sum(heights))
    if all(b - a >= 0.1 for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False)):
        assert places == pytest.approx(list(heights))
