from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision import tv_tensors

from lightning_symmetry.actions import Action, Box, Image, Keypoints, Mask, Points, by_name
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import SO, AffineMap, Permutations

TURN = SO(2).exp(torch.tensor([[0.4]]))


@pytest.mark.parametrize(
    ("action", "x"),
    [
        (Image(), tv_tensors.Image(torch.rand(2, 3, 6, 8))),
        (Mask(), tv_tensors.Mask(torch.ones(2, 6, 8, dtype=torch.uint8))),
        (Box(), tv_tensors.BoundingBoxes(torch.rand(2, 4), format="XYWH", canvas_size=(6, 8))),
        (Keypoints(), tv_tensors.KeyPoints(torch.rand(2, 5, 2), canvas_size=(6, 8))),
        (by_name("scalar"), tv_tensors.Image(torch.rand(2, 3, 6, 8))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_torchvision_marks_stays_marked(action: Action, x: Tensor) -> None:
    moved = action.act(TURN, x)
    assert type(moved) is type(x) and moved.__dict__ == x.__dict__ and moved.dtype == x.dtype
    if x.is_floating_point():
        assert type(action.lie(SO(2), x)) is Tensor


@pytest.mark.parametrize("format", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_say_themselves_what_their_numbers_are(format: str) -> None:
    numbers = torch.tensor([[10.0, 12.0, 20.0, 22.0]])
    boxes = tv_tensors.BoundingBoxes(numbers, format=format, canvas_size=(48, 64))
    explicit = Box(format.lower(), (48, 64))
    for action in (Box(), Box("xywh", (8, 8), relative=True), explicit):
        torch.testing.assert_close(action.act(TURN, boxes).as_subclass(Tensor), explicit.act(TURN, numbers))
        torch.testing.assert_close(action.lie(SO(2), boxes), explicit.lie(SO(2), numbers))
    # torchvision makes no batches of boxes; one that a collate function made keeps its marks all the same
    batch = numbers.expand(3, 2, -1).as_subclass(tv_tensors.BoundingBoxes)
    batch.__dict__.update(boxes.__dict__)
    moved = Box().act(TURN, batch)
    assert moved.canvas_size == (48, 64) and moved.shape == (3, 2, 4)
    torch.testing.assert_close(moved[1, 1], explicit.act(TURN, numbers)[0])


def test_turned_boxes_are_refused() -> None:
    boxes = tv_tensors.BoundingBoxes(torch.rand(2, 5), format="XYWHR", canvas_size=(6, 8))
    with pytest.raises(ActionMismatch, match="xywhr"):
        Box().act(TURN, boxes)


class Named(Tensor):
    unit: str


def test_gradients_pass_through_a_subclass() -> None:
    x = torch.rand(2, 4, 2, requires_grad=True)
    marked = x.as_subclass(Named)
    marked.unit = "metre"
    moved = Points().act(TURN, marked)
    assert type(moved) is Named and moved.unit == "metre"
    moved.as_subclass(Tensor).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_permutations_and_parameters() -> None:
    marked = torch.rand(2, 3, 2).as_subclass(Named)
    assert type(Points().act(Permutations(3).exp(torch.zeros(2, 0)), marked)) is Named
    assert type(Points().act(TURN, nn.Parameter(torch.rand(2, 2)))) is Tensor


def test_tensors_that_compute_in_their_own_way_are_left_to_do_so() -> None:
    with FakeTensorMode() as mode:
        x, linear = torch.empty(2, 5, 2), torch.empty(2, 2, 2)
        moved = Points().act(AffineMap(linear), x)
    assert moved.shape == (2, 5, 2) and moved.fake_mode is mode
