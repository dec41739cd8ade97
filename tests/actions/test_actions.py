from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from lightning_symmetry import actions
from lightning_symmetry.actions import Image, Label, Mask, Points, Representation, Vector
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, InvalidSetting, UnknownName
from lightning_symmetry.functional.warp import pixel_coordinates
from lightning_symmetry.groups import GL, SE, SO, AffineMap, Cyclic, Dihedral, Learned, Translation


def test_quarter_turns_permute_pixels() -> None:
    """From x (right) towards y (down) is clockwise to the eye."""
    image = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    for turns in range(4):
        turned = Image().act(Cyclic(4).discrete[turns], image)
        torch.testing.assert_close(turned, torch.rot90(image, -turns, (2, 3)), atol=1e-5, rtol=1e-5)


def test_mirror_flips_columns() -> None:
    image = torch.randn(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    mirror = Dihedral(1).discrete[1]
    torch.testing.assert_close(Image().act(mirror, image), image.flip(3), atol=1e-5, rtol=1e-5)


def test_translation_by_one_pixel_shifts_right_and_down() -> None:
    image = torch.randn(1, 1, 5, 10, generator=torch.Generator().manual_seed(0))
    move = Translation(2).exp(torch.tensor([[0.2, 0.2]]))
    torch.testing.assert_close(Image().act(move, image)[..., 1:, 1:], image[..., :-1, :-1], atol=1e-5, rtol=1e-5)


def test_image_of_a_rectangle_is_truly_rotated() -> None:
    """A disc stays a disc, which it would not if both sides spanned [-1, 1]."""
    p = pixel_coordinates(20, 60)
    disc = torch.exp(-p.square().sum(-1) / 0.01).reshape(1, 1, 20, 60)
    turned = Image().act(SO(2).exp(torch.tensor([[0.7]])), disc)
    torch.testing.assert_close(turned, disc, atol=0.05, rtol=0)


def test_image_matches_a_plain_loop() -> None:
    image = torch.randn(2, 1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    g = SE(2).exp(torch.tensor([[0.3, 0.1, -0.2], [-1.0, 0.3, 0.0]], dtype=torch.float64))
    size = 2 / 5
    expected = torch.zeros_like(image)
    for b in range(2):
        inverse = torch.linalg.inv(g.matrix[b])
        for row in range(5):
            for column in range(4):
                p = torch.tensor([(column - 1.5) * size, (row - 2) * size, 1.0], dtype=torch.float64)
                x, y = (inverse @ p)[:2].tolist()
                x, y = x / size + 1.5, y / size + 2
                for i in range(5):
                    for j in range(4):
                        share = max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j))
                        expected[b, 0, row, column] += share * image[b, 0, i, j]
    torch.testing.assert_close(Image().act(g, image), expected)


def test_lie_of_an_image_is_minus_gradient_times_velocity() -> None:
    p = pixel_coordinates(8, 8)
    ramp = (2 * p[:, 0] - 3 * p[:, 1]).reshape(1, 1, 8, 8)
    expected = -(2 * -p[:, 1] - 3 * p[:, 0]).reshape(1, 1, 1, 8, 8)
    torch.testing.assert_close(Image().lie(SO(2), ramp), expected, atol=1e-5, rtol=1e-5)


def test_spectral_gradient_is_exact_for_a_wave() -> None:
    p = pixel_coordinates(8, 16, dtype=torch.float64)
    wave = torch.sin(torch.pi * p[:, 0]).reshape(1, 1, 8, 16)
    slope = torch.pi * torch.cos(torch.pi * p[:, 0]).reshape(1, 1, 8, 16)
    derivative = Image(gradient="spectral").lie(Translation(2), wave)
    torch.testing.assert_close(derivative[:, 0], -slope)
    torch.testing.assert_close(derivative[:, 1], torch.zeros_like(slope))


def test_vector_moves_every_part_of_the_last_axis() -> None:
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    g = GL(2).exp(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)))
    expected = torch.stack([torch.cat([g.linear[b] @ x[b, i : i + 2] for i in range(0, 8, 2)]) for b in range(3)])
    torch.testing.assert_close(Vector().act(g, x), expected)
    torch.testing.assert_close(Vector().act(g.linear, x), expected)


def test_vector_gives_an_open_group_the_whole_axis() -> None:
    group = Learned(count=2)
    Vector().bind(torch.ones(2, 5), group)
    assert group.dim == 5 and not group.affine
    with pytest.raises(ActionMismatch, match="multiple of 5"):
        Vector().bind(torch.ones(2, 6), group)


def test_representation_follows_the_coordinates() -> None:
    action, group = Representation(), SO(3)
    y = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    action.bind(y, group)
    t = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    matrices = torch.matrix_exp(torch.einsum("bk,kij->bij", t, action.generators()))
    torch.testing.assert_close(action.act(group.exp(t), y), (matrices @ y[..., None])[..., 0])


def test_representation_needs_coordinates() -> None:
    action, group = Representation(), SO(2)
    y = torch.ones(1, 4)
    with pytest.raises(InvalidSetting, match="bind"):
        action.act(group.exp(torch.ones(1, 1)), y)
    action.bind(y, group)
    g = group.exp(torch.ones(1, 1))
    with pytest.raises(DimensionMismatch, match="without coordinates"):
        action.act(g @ g, y)
    with pytest.raises(DimensionMismatch, match="3 generators"):
        action.bind(y, SO(3))


def test_representation_is_restored() -> None:
    first, second = Representation(seed=1), Representation()
    first.bind(torch.ones(1, 3), SO(2))
    second.restore(first.generators())
    second.bind(torch.ones(1, 3), SO(2))
    assert torch.equal(first.generators(), second.generators())
    with pytest.raises(InvalidSetting):
        second.restore(torch.ones(3, 3))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ActionMismatch, match="unsqueeze"):
        Image().check(torch.ones(2, 8, 8))
    with pytest.raises(ActionMismatch):
        Points(3).check(torch.ones(2, 6))
    with pytest.raises(ActionMismatch):
        Vector(4).check(torch.ones(2, 6))
    with pytest.raises(ActionMismatch, match="a batch"):
        Vector().check(torch.ones(6))


def test_elements_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DimensionMismatch, match="2 elements for 3 samples"):
        Points().act(AffineMap.identity(2, 3), torch.ones(3, 3))
    with pytest.raises(DimensionMismatch):
        Points().act(AffineMap.identity(3, 2), torch.ones(3, 3))
    with pytest.raises(DimensionMismatch):
        Image().lie(SO(3), torch.ones(1, 1, 4, 4))


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InvalidSetting):
        Image(padding="mirror")
    with pytest.raises(InvalidSetting):
        Image(gradient="sobel")


def test_the_docs_list_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "actions.md").read_text()
    listed = set(re.findall(r"^\| `([a-z]+)", page, re.MULTILINE))
    assert listed == set(actions._TABLE) - {"representation"}, "representation is another word for learned"


def test_names() -> None:
    assert isinstance(actions.by_name("Label"), Label)
    assert isinstance(actions.by_name("mask"), Mask)
    assert actions.by_name("image(padding='border')").sentence == "image(padding='border')"
    assert isinstance(actions.by_name("learned", scale=0.1), Representation)
    with pytest.raises(UnknownName, match="vector"):
        actions.by_name("vectr")
