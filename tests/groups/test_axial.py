"""Rotations about an axis keep it; tilts move it by their angle; together they are the rotations of space."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_symmetry.discovery import name_generator
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting, SentenceError
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, About, AffineMap, Group, Tilts, by_name
from lightning_symmetry.samplers import Haar, Uniform
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import GroupContract, SamplerContract

OBLIQUE = [1.0, -2.0, 0.5]
AXES: dict[str, Tensor] = {"x": torch.eye(3)[0], "y": torch.eye(3)[1], "z": torch.eye(3)[2]}


def direction(axis: str | list[float]) -> Tensor:
    return AXES[axis] if isinstance(axis, str) else torch.tensor(axis) / torch.tensor(axis).norm()


def gram(matrix: Tensor) -> Tensor:
    return (matrix.mT @ matrix - torch.eye(3, dtype=matrix.dtype)).flatten(1)


class TestAbout(GroupContract):
    subject = About
    dim = 3
    axis: str | list[float] = "z"

    def make(self) -> Group:
        return About(self.axis)

    def violation(self, matrix: Tensor) -> Tensor:
        axis = About(self.axis).basis()[0].double()
        # what commutes with the generator keeps the axis
        turned = (matrix @ axis - axis @ matrix).flatten(1)
        return torch.cat((gram(matrix), turned, (torch.linalg.det(matrix) - 1)[:, None]), 1)


class TestAboutX(TestAbout):
    axis = "x"


class TestAboutOblique(TestAbout):
    axis = OBLIQUE


class TestAboutWithMirrors(GroupContract):
    subject = About
    dim = 3

    def make(self) -> Group:
        return About("y", mirrors=True)

    def violation(self, matrix: Tensor) -> Tensor:
        axis = AXES["y"].to(matrix)
        return torch.cat((gram(matrix), matrix @ axis - axis), 1)


class TestTilts(GroupContract):
    subject = Tilts
    dim = 3

    def make(self) -> Group:
        return Tilts("z")

    def violation(self, matrix: Tensor) -> Tensor:
        return torch.cat((gram(matrix), (torch.linalg.det(matrix) - 1)[:, None]), 1)


class TestTiltsOblique(TestTilts):
    def make(self) -> Group:
        return Tilts(OBLIQUE)


class TestHaarAboutAnAxis(SamplerContract):
    subject = Haar
    any_group = False

    def make(self, group: Group | None = None) -> Haar:
        return Haar(group)

    def group(self) -> Group:
        return About("z", mirrors=True)


@pytest.mark.parametrize("axis", ["x", "y", "z", OBLIQUE])
def test_a_positive_angle_is_right_handed(axis: str | list[float]) -> None:
    along, angle = direction(axis), torch.tensor([[0.4]])
    p = torch.tensor([0.3, -1.2, 0.7])
    turned = About(axis).exp(angle)(p[None, None])[0, 0]
    torch.testing.assert_close(along @ turned, along @ p)
    across = p - (along @ p) * along
    expected = math.cos(0.4) * across + math.sin(0.4) * torch.linalg.cross(along, across)
    torch.testing.assert_close(turned - (along @ p) * along, expected)


@pytest.mark.parametrize("axis", ["x", "y", "z", OBLIQUE])
def test_tilts_move_the_axis_by_their_angle_and_nothing_along_the_tilt(axis: str | list[float]) -> None:
    along, t = direction(axis).double(), Rng(0).normal(20, 2, dtype=torch.float64)
    g = Tilts(axis).exp(t)
    assert isinstance(g, AffineMap)
    torch.testing.assert_close(g.linear @ along @ along, t.norm(dim=1).cos(), atol=1e-6, rtol=0)
    # the axis of a rotation is its eigenvector of 1: it lies across
    skew = (g.linear - g.linear.mT) / 2
    hinge = torch.stack((skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]), 1)
    torch.testing.assert_close(hinge @ along, torch.zeros(20).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("axis", ["x", "y", "z", OBLIQUE])
def test_with_the_tilts_they_span_the_rotations(axis: str | list[float]) -> None:
    both = torch.cat((About(axis).basis(), Tilts(axis).basis())).flatten(1)
    assert both.shape[0] == torch.linalg.matrix_rank(torch.cat((both, SO(3).basis().flatten(1)))) == 3
    torch.testing.assert_close(both @ both.mT, 2 * torch.eye(3))


@pytest.mark.parametrize("axis", ["x", "y", "z", OBLIQUE])
def test_mirrors_contain_the_axis(axis: str | list[float]) -> None:
    group = About(axis, mirrors=True)
    assert group.discrete is not None
    mirror = group.discrete.linear[1]
    torch.testing.assert_close(mirror @ direction(axis), direction(axis))
    torch.testing.assert_close(mirror @ mirror, torch.eye(3))
    assert float(torch.linalg.det(mirror)) == pytest.approx(-1)


def test_haar_angles_are_uniform() -> None:
    g, _ = Haar(About("x")).sample(torch.zeros(20000, 1, dtype=torch.float64), 1, Rng(0))
    angles = g.coordinates[:, 0]
    assert float(angles.min()) >= -math.pi and float(angles.max()) <= math.pi
    # five standard errors of 20,000 draws
    for power, mean in ((1, 0.0), (2, math.pi**2 / 3), (4, math.pi**4 / 5)):
        assert abs(float((angles**power).mean()) - mean) < 5 * float((angles**power).std()) / math.sqrt(20000)


def test_haar_refuses_tilts_which_are_no_group() -> None:
    with pytest.raises(InvalidSetting, match="use Uniform"):
        Haar(Tilts("z"))


def test_uniform_widths_are_angles() -> None:
    g, _ = Uniform(About("z"), width=0.1).sample(torch.zeros(500, 1), 1, Rng(0))
    assert 0.09 < float(g.coordinates.abs().max()) <= 0.1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("about(z)", "about(z)"),
        ("About('y')", "about(y)"),
        ("about(axis=x, mirrors=True)", "about(x, mirrors=True)"),
        ("tilts([0, 1, 0])", "tilts([0, 1, 0])"),
        ("about([0.5, -2, 0], mirrors=True)", "about([0.5, -2, 0], mirrors=True)"),
        ("about(z) * scale(3)", "about(z) * scale(3)"),
        ("about(z) | tilts(z)", "about(z) | tilts(z)"),
    ],
)
def test_axes_are_written_as_letters_or_numbers(words: str, sentence: str) -> None:
    assert by_name(words).sentence == sentence == by_name(sentence).sentence


def test_named_axes_are_vectors() -> None:
    for name, axis in AXES.items():
        torch.testing.assert_close(About(name).basis(), About((2 * axis).tolist()).basis())
        generator = About(name).basis()[0]
        assert name_generator(generator, 3).name == f"rotation about {name}"


@pytest.mark.parametrize("axis", ["w", "", [0.0, 0.0, 0.0], [1.0, 0.0], [math.inf, 0.0, 0.0]])
def test_what_is_no_axis_is_refused(axis: str | list[float]) -> None:
    for kind in (About, Tilts):
        with pytest.raises(InvalidSetting, match="three numbers"):
            kind(axis)


def test_letters_stand_without_quotes_for_axes_only() -> None:
    with pytest.raises(SentenceError):
        by_name("SO(z)")
    with pytest.raises(SentenceError):
        by_name("about(up)")


def test_the_plane_is_refused() -> None:
    with pytest.raises(DimensionMismatch, match=r"SO\(2\) in the plane"):
        About("z").bind(2)


@pytest.mark.parametrize("group", ["about(z)", "about([0, 1, 0], mirrors=True)", "tilts(x)"])
def test_sentences_bind_move_and_come_back_from_a_file(group: str, tmp_path: Path) -> None:
    symmetry = Symmetry.parse(f"{group} on vector(3) -> vector(3)")
    x = Rng(1).normal(5, 6)
    symmetry.bind(x, x[:, :3])
    symmetry.check(x)
    again = Symmetry.load(symmetry.save(tmp_path))
    again.bind(x, x[:, :3])
    assert (again.sentence, again.name) == (symmetry.sentence, symmetry.name)
    g, _ = symmetry.sample(x, 1, Rng(2))
    h, _ = again.sample(x, 1, Rng(2))
    assert torch.equal(symmetry.move_input(g, x), again.move_input(h, x))


def test_names_tell_axes_apart() -> None:
    names = {Symmetry.parse(f"{group} on vector(3) -> label").name for group in ("about(x)", "about(y)", "tilts(y)")}
    assert names == {"about_x_on_vector_3_to_label", "about_y_on_vector_3_to_label", "tilts_y_on_vector_3_to_label"}
