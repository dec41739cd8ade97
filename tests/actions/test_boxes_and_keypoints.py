from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from lightning_symmetry.actions import Action, Box, Image, Keypoints, by_name
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, SO, AnisotropicScaling, Cyclic, Dihedral, E, Group, Translation
from lightning_symmetry.testing import ActionContract


def draw_boxes(rows: int, *count: int) -> Tensor:
    """Upright boxes, xyxy, in the coordinates of the image."""
    low, size = Rng(8).uniform(rows, *count, 4, dtype=torch.float64).split(2, -1)
    return torch.cat((low - 0.7, low - 0.6 + 0.5 * size), -1)


class TestBox(ActionContract):
    subject = Box

    def make(self) -> Action:
        return Box()

    def group(self) -> Group:
        return AnisotropicScaling(2)

    def data(self, rows: int) -> Tensor:
        return draw_boxes(rows, 5)


class TestShiftedBox(TestBox):
    def make(self) -> Action:
        return Box("cxcywh", (48, 64), relative=True)

    def group(self) -> Group:
        return Translation(2)

    def data(self, rows: int) -> Tensor:
        return tv.convert_bounding_box_format(draw_boxes(rows), old_format="XYXY", new_format="CXCYWH")


class TestBoxInTheSquare(TestBox):
    def make(self) -> Action:
        return Box("xywh", (64, 64))

    def group(self) -> Group:
        return Dihedral(4)

    def data(self, rows: int) -> Tensor:
        return 40 * tv.convert_bounding_box_format(draw_boxes(rows, 5), old_format="XYXY", new_format="XYWH")


class TestKeypoints(ActionContract):
    subject = Keypoints

    def make(self) -> Action:
        return Keypoints((48, 64), swap=[(0, 1), (3, 4)])

    def group(self) -> Group:
        return E(2)

    def data(self, rows: int) -> Tensor:
        return 64 * self.rng().uniform(rows, 6, 3, dtype=torch.float64)


class TestPlainKeypoints(TestKeypoints):
    def make(self) -> Action:
        return Keypoints()

    def group(self) -> Group:
        return Dihedral(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 6, 2, dtype=torch.float64)


@pytest.mark.parametrize("format", ["xyxy", "xywh", "cxcywh"])
def test_formats_say_the_same(format: str) -> None:
    boxes = draw_boxes(3, 4) * 20 + 30
    g = SE(2).double().exp(Rng(9).normal(3, 3, dtype=torch.float64))
    moved = tv.convert_bounding_box_format(
        Box(canvas_size=(40, 60)).act(g, boxes), old_format="XYXY", new_format=format
    )
    other = tv.convert_bounding_box_format(boxes, old_format="XYXY", new_format=format)
    action = Box(format, (40, 60))
    torch.testing.assert_close(action.act(g, other), moved)
    step = 1e-6
    for k, group in enumerate((SO(2).double(), Translation(2).double(), AnisotropicScaling(2).double())):
        t = torch.zeros(3, group.count, dtype=torch.float64)
        t[:, -1] = step
        ahead, behind = action.act(group.exp(t), other), action.act(group.exp(-t), other)
        torch.testing.assert_close(action.lie(group, other)[:, -1], (ahead - behind) / (2 * step), msg=f"group {k}")


def test_a_box_is_the_hull_of_what_it_held() -> None:
    box = torch.tensor([[10.0, 20.0, 30.0, 26.0]], dtype=torch.float64)
    g = SO(2).double().exp(torch.tensor([[0.6]], dtype=torch.float64))
    grid = torch.cartesian_prod(torch.linspace(10, 30, 21), torch.linspace(20, 26, 7)).double()
    # keypoints count from the middle of the first pixel, boxes from its corner
    inside = Keypoints((48, 64)).act(g, grid[None] - 0.5)[0] + 0.5
    expected = torch.cat((inside.amin(0), inside.amax(0)))[None]
    torch.testing.assert_close(Box(canvas_size=(48, 64)).act(g, box), expected)


def test_relative_boxes_are_pixels_over_the_sides() -> None:
    boxes = draw_boxes(2, 3) * 20 + 30
    sides = torch.tensor([60.0, 40.0, 60.0, 40.0], dtype=torch.float64)
    g = SE(2).double().exp(Rng(9).normal(2, 3, dtype=torch.float64))
    moved = Box(canvas_size=(40, 60), relative=True).act(g, boxes / sides)
    torch.testing.assert_close(moved * sides, Box(canvas_size=(40, 60)).act(g, boxes))


def test_flips_are_those_of_torchvision() -> None:
    from torchvision import tv_tensors

    boxes = tv_tensors.BoundingBoxes(torch.tensor([[1.0, 2.0, 5.0, 3.0]]), format="XYXY", canvas_size=(6, 9))
    points = tv_tensors.KeyPoints(torch.tensor([[[1.0, 2.0], [5.0, 3.0]]]), canvas_size=(6, 9))
    mirror = Dihedral(1).discrete[1]
    torch.testing.assert_close(Box().act(mirror, boxes), tv.horizontal_flip(boxes))
    torch.testing.assert_close(Keypoints().act(mirror, points), tv.horizontal_flip(points))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_boxes_and_keypoints_follow_the_image(quarters: int) -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 2, 5] = 1
    g = Cyclic(4).discrete[quarters]
    row, column = Image().act(g, image)[0, 0].round().nonzero()[0].tolist()
    point = Keypoints((8, 8)).act(g, torch.tensor([[[5.0, 2.0]]]))
    torch.testing.assert_close(point.flatten(), torch.tensor([column, row]).float())
    box = Box(canvas_size=(8, 8)).act(g, torch.tensor([[5.0, 2.0, 6.0, 3.0]]))
    torch.testing.assert_close(box.flatten(), torch.tensor([column, row, column + 1, row + 1]).float())


def test_left_and_right_are_exchanged_only_in_mirrors() -> None:
    """A face looking at us: in the mirror its left eye is where the right one's image was."""
    face = torch.tensor([[[-0.3, -0.2, 2.0], [0.4, -0.2, 1.0], [0.0, 0.5, 0.0]]])
    action = Keypoints(swap=[(0, 1)])
    mirror, turn = Dihedral(1).discrete[1], SO(2).exp(torch.tensor([[0.3]]))
    flipped = torch.tensor([[[-0.4, -0.2, 1.0], [0.3, -0.2, 2.0], [0.0, 0.5, 0.0]]])
    torch.testing.assert_close(action.act(mirror, face), flipped)
    torch.testing.assert_close(action.act(turn, face), Keypoints().act(turn, face))
    assert torch.equal(action.act(turn, face)[..., 2], face[..., 2])


def test_no_boxes_and_no_keypoints_are_fine() -> None:
    g = SO(2).exp(torch.tensor([[0.3]]))
    assert Box().act(g, torch.zeros(2, 0, 4)).shape == (2, 0, 4)
    assert Keypoints().act(g, torch.zeros(2, 0, 2)).shape == (2, 0, 2)


def test_words() -> None:
    for words in ("box(format='xywh', canvas_size=(48, 64))", "keypoints(canvas_size=(48, 64), swap=[(0, 1)])"):
        assert by_name(words).sentence == words


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ActionMismatch, match="boxes"):
        Box().check(torch.ones(2, 5))
    with pytest.raises(ActionMismatch, match="float"):
        Box().check(torch.ones(2, 4, dtype=torch.long))
    with pytest.raises(ActionMismatch, match="visibility"):
        Keypoints().check(torch.ones(2, 34))
    with pytest.raises(ActionMismatch, match="at least 6"):
        Keypoints(swap=[(2, 5)]).check(torch.ones(2, 4, 2))
    for wrong in ({"format": "xyxyr"}, {"canvas_size": (0, 4)}, {"canvas_size": (3, 4, 5)}, {"relative": True}):
        with pytest.raises(InvalidSetting):
            Box(**wrong)
    for pairs in ([(0, 1), (1, 2)], [(0,)], [(1, 1)], [(-1, 0)]):
        with pytest.raises(InvalidSetting):
            Keypoints(swap=pairs)
