"""What escnn is given is what this package means: the same matrices, the same fields, the same groups."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_symmetry import Symmetry
from lightning_symmetry.actions import Action, Rep, by_name
from lightning_symmetry.discovery import discover
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.warp import pixel_coordinates
from lightning_symmetry.groups import SO, AffineMap, Cyclic, Dihedral, Given, Group, Scale, Translation
from lightning_symmetry.groups import by_name as group_by_name
from lightning_symmetry.steering import to_escnn

TURN = SO(2).basis()[0]
STRETCH = torch.tensor([[1.5, 0.3, 0.0], [0.2, 0.8, 0.1], [0.0, 0.4, 1.0]])
TOLERANCE = 0.05
"""Between fields read by escnn (splines) and by this package (bilinearly), on values up to 1; a wrong sign makes 1."""


def test_a_missing_escnn_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "escnn", None)
    with pytest.raises(InvalidSetting, match="SO\\(2\\) on image -> label.*without escnn.*pip install --no-deps escnn"):
        to_escnn("SO(2) on image -> label")


@pytest.fixture(scope="module")
def escnn() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("escnn")


def test_what_was_read_out_of_a_map_can_be_built_in(escnn: object, tmp_path: Path) -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    found = discover(lambda x: x * x.norm(dim=1, keepdim=True), x, "GL(3) on vector -> same")
    for symmetry in (found.symmetry, str(found.save(tmp_path))):
        assert to_escnn(symmetry).compact.name == "SO(3)"


def conjugate(basis: Tensor, change: Tensor) -> Tensor:
    return change @ basis @ torch.linalg.inv(change)


def draw(group: Group) -> AffineMap:
    finite, rng = group.discrete, Rng(2)
    return group.draw(2 * rng.normal(6, 1, group.count, dtype=torch.float64), rng) if group.count else finite


def matrices(action: Action, g: AffineMap, size: int) -> Tensor:
    eye = torch.eye(size).double()
    return action.act(g, eye.expand(len(g), -1, -1)).mT


GROUPS = [
    *(group_by_name(f"{kind}{order}") for kind in "CD" for order in (1, 2, 3, 4)),
    *(group_by_name(name) for name in ("SO(2)", "O(2)", "SO(3)", "O(3)")),
    Given(conjugate(SO(2).basis(), STRETCH[:2, :2]), affine=False),
    Given(conjugate(SO(3).basis(), STRETCH), affine=False),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("group", "kind"),
    [(g, kind) for g in GROUPS for kind in ("vector", "pseudoscalar", "pseudovector")[: g.dim]],
    ids=lambda value: value if isinstance(value, str) else value.sentence[:8],
)
def test_representations_have_the_matrices_of_the_actions(escnn: object, group: Group, kind: str) -> None:
    """`Rep` of the representation acts as the action does, once elements are written in the basis that was found."""
    steering = to_escnn(Symmetry(group, "vector", kind))
    (representation,) = steering.output[0].representations
    g, change = draw(group.double()), steering.compact.change
    named = AffineMap(change @ g.linear @ torch.linalg.inv(change))
    expected = g.linear.det().sign()[:, None, None] * (torch.ones(1) if kind == "pseudoscalar" else g.linear)
    expected = g.linear if kind == "vector" else expected.double()
    found = matrices(Rep(representation).double(), named, representation.size)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_turns_about_an_axis_and_of_several_planes(escnn: object) -> None:
    for generator in (conjugate(SO(3).basis()[:1], STRETCH)[0], torch.block_diag(TURN, -2 * TURN)):
        generator = generator.double()
        steering = to_escnn(Symmetry(Given(generator[None], affine=False), "vector", "vector"))
        (representation,) = steering.output[0].representations
        group = steering.space.fibergroup
        slope = (representation(group.element(1e-4)) - representation(group.element(-1e-4))) / 2e-4
        # the angle goes round as often, or the other way
        torch.testing.assert_close(torch.as_tensor(slope).abs(), generator.abs(), atol=1e-5, rtol=0)


def draw_smooth(channels: int) -> Tensor:
    """Bumps that vanish at the border and that no mirror or turn leaves alone."""
    p = pixel_coordinates(33, 33)
    centres = 0.3 * Rng(9).normal(2 * channels, 2).clamp(-1, 1)
    bumps = torch.exp(-(p[:, None] - centres).square().sum(-1) / 0.05) * torch.tensor([1.0, 0.5]).repeat(channels)
    return bumps.mT.reshape(channels, 2, 33, 33).sum(1)[None]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kind"), [("D3", "field"), ("D4", "field('pseudoscalar')"), ("C4", "field")])
def test_fields_move_on_the_grid_of_escnn_as_they_do_here(escnn: object, name: str, kind: str) -> None:
    steering = to_escnn(f"{name} on {kind} -> label")
    (fields,), group = steering.input, steering.space.fibergroup
    x, image, action = draw_smooth(fields.size), draw_smooth(1), by_name(kind)
    plain = escnn.nn.FieldType(steering.space, [group.trivial_representation])
    elements = group_by_name(name).discrete
    for g in (elements[index] for index in range(len(elements))):
        # elements are matched by what they do to an image
        moved = by_name("image").act(g, image)
        (fit,) = [e for e in group.elements if (plain.transform(image, e) - moved).abs().max() < TOLERANCE]
        assert (fields.transform(x, fit) - action.act(g, x)).abs().max() < TOLERANCE


@pytest.mark.filterwarnings("ignore")
def test_rotations_of_escnn_go_the_other_way_on_the_grid(escnn: object) -> None:
    (fields,) = to_escnn("SO(2) on field -> label").input
    x, group = draw_smooth(2), fields.gspace.fibergroup
    moved = by_name("field").act(SO(2).exp(torch.tensor([[0.7]])), x)
    assert (fields.transform(x, group.element(-0.7)) - moved).abs().max() < TOLERANCE
    assert (fields.transform(x, group.element(0.7)) - moved).abs().max() > 5 * TOLERANCE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("symmetry", "name", "space", "sizes"),
    [
        ("SO(2) on image -> label", "SO(2)", "SO(2)_on_R2", (3, 10)),
        ("SE(2) on image -> label", "SO(2)", "SO(2)_on_R2", (3, 10)),
        ("E(2) on image -> field", "O(2)", "O(2)_on_R2", (3, 20)),
        ("translation on image -> mask", "C1", "C1_on_R2", (3, 10)),
        ("D1 on image -> label", "D1", "C2_on_R2", (3, 10)),
        ("SE(3) on points(3) -> scalar", "SO(3)", "SO(3)", (9, 10)),
        ("C4 on vector -> vector", "C4", "C4", (6, 20)),
    ],
)
def test_sentences_become_spaces_and_types(
    escnn: object, symmetry: str, name: str, space: str, sizes: tuple[int, int]
) -> None:
    steering = to_escnn(symmetry, inputs=3, outputs=10)
    assert steering.name == name and steering.space.name.startswith(space)
    assert (steering.input[0].size, steering.output[0].size) == sizes


@pytest.mark.filterwarnings("ignore")
def test_every_part_has_its_type(escnn: object) -> None:
    steering = to_escnn("O(3) on pos=points(3), z=scalar -> energy=scalar, forces=vector", inputs=(1, 5))
    assert [t.size for t in (*steering.input, *steering.output)] == [3, 5, 1, 3]
    with pytest.raises(InvalidSetting, match="2 parts"):
        to_escnn("O(3) on pos=points(3), z=scalar -> scalar", inputs=(1, 2, 3))


@pytest.mark.filterwarnings("ignore")
def test_a_group_alone_gives_its_space(escnn: object) -> None:
    assert to_escnn(SO(2)).space.name.startswith("SO(2)_on_R2") and to_escnn(SO(3)).space.name.startswith("SO(3)_on_R3")
    assert to_escnn(Dihedral(4)).space.fibergroup.order() == 8 and to_escnn(SO(2)).input == ()


@pytest.mark.filterwarnings("ignore")
def test_a_saved_symmetry_is_replayed(escnn: object, tmp_path: Path) -> None:
    learnt = Given([[[0.02, -2.3, 0.01], [2.25, 0.0, -0.02], [0.0, 0.0, 0.0]]], affine=True)
    Symmetry(learnt, "image", "label").save(tmp_path)
    steering = to_escnn(tmp_path)
    assert steering.name == "SO(2)" and steering.compact.is_plain


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("symmetry", "said"),
    [
        ("scale on image -> label", "stretches"),
        ("affine on image -> label", "more than turn"),
        ("lorentz(4) on vector(4) -> scalar", "more than turn"),
        ("SO(2) | D4 on image -> label", "union"),
        ("SO(3) * permutations on points(3) -> scalar", "reorders nodes"),
        ("SO(2) on vector -> learned", "no words"),
        ("SO(2) on image -> rep('SO(2)', [2])", "no words"),
    ],
)
def test_what_escnn_lacks_is_refused(escnn: object, symmetry: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        to_escnn(symmetry)


@pytest.mark.filterwarnings("ignore")
def test_groups_alone_are_refused_too(escnn: object) -> None:
    with pytest.raises(InvalidSetting, match="stretches.*translations"):
        to_escnn(Scale(2) * Translation(2))


@pytest.mark.filterwarnings("ignore")
def test_images_turn_about_their_middle_along_circles(escnn: object) -> None:
    elsewhere = torch.zeros(1, 3, 3)
    elsewhere[0, :2, :2], elsewhere[0, :2, 2] = TURN, torch.tensor([0.5, 0.5])
    with pytest.raises(InvalidSetting, match="another point.*Crop or resample"):
        to_escnn(Symmetry(Given(elsewhere, affine=True), "image", "label"))
    with pytest.raises(InvalidSetting, match="ellipses.*Crop or resample"):
        to_escnn(Symmetry(Given(conjugate(TURN[None], STRETCH[:2, :2]), affine=False), "image", "label"))
    points = to_escnn(Symmetry(Given(elsewhere, affine=True), "points", "scalar"))
    torch.testing.assert_close(points.compact.centre, torch.tensor([-0.5, 0.5]).double())


@pytest.mark.filterwarnings("ignore")
def test_finite_groups_of_any_order(escnn: object) -> None:
    for order in (5, 8, 12):
        assert to_escnn(Cyclic(order)).space.fibergroup.order() == order
