"""What ``auto`` chooses, what it says, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from lightning_symmetry.actions import Action, by_name
from lightning_symmetry.exceptions import AmbiguousPath, InvalidSetting, UnknownName
from lightning_symmetry.inference import choose_actions
from lightning_symmetry.symmetry import Symmetry

IMAGE = torch.randn(4, 3, 8, 8)


def chosen(tree: Any, side: str = "input", **settings: Any) -> dict[str, str]:
    return {choice.path: choice.words for choice in choose_actions(tree, side, **settings)}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (IMAGE, {"": "image"}),
        (
            {"x": IMAGE, "t": torch.zeros(4), "class": torch.zeros(4, dtype=torch.long)},
            {"x": "image", "t": "scalar", "class": "scalar"},
        ),
        ({"position": torch.zeros(4, 5, 3), "mass": torch.zeros(4, 5)}, {"position": "points", "mass": "scalar"}),
        ({"xyz": torch.zeros(4, 2), "velocity": torch.zeros(4, 2)}, {"xyz": "points", "velocity": "vector"}),
        (
            {"batch": {"pos": torch.zeros(5, 3), "z": torch.ones(5).long()}},
            {"batch.pos": "points", "batch.z": "scalar"},
        ),
        ({"pos": torch.zeros(4, 5, 3), "cell": torch.zeros(4, 3, 3)}, {"pos": "points", "cell": "lattice"}),
        ({"pos": torch.zeros(4, 3), "empty": torch.zeros(4, 0)}, {"pos": "points"}),
        (
            {"pos": torch.zeros(5, 3), "batch": torch.tensor([0, 0, 1, 1, 1]), "edge_index": torch.ones(2, 7).long()},
            {"pos": "points"},
        ),
    ],
)
def test_kinds_names_and_shapes_tell_an_input(tree: Any, expected: dict[str, str]) -> None:
    assert chosen(tree) == expected


def test_classes_of_tensors_tell_first() -> None:
    boxes = tv_tensors.BoundingBoxes(torch.zeros(3, 4), format="XYXY", canvas_size=(8, 8))
    tree = {"a": tv_tensors.Image(IMAGE), "b": tv_tensors.Mask(torch.zeros(4, 8, 8).long()), "pos": boxes}
    assert chosen(tree) == {"a": "image", "b": "mask", "pos": "box"}


@pytest.mark.parametrize(
    ("tree", "images", "expected"),
    [
        (torch.zeros(4, 10), True, {"": "label"}),
        (torch.zeros(4), False, {"": "scalar"}),
        (torch.zeros(4, 1), True, {"": "scalar"}),
        (torch.zeros(4).long(), False, {"": "label"}),
        ({"energy": torch.zeros(4, 1), "forces": torch.zeros(9, 3)}, False, {"energy": "scalar", "forces": "vector"}),
        ({"dipole": torch.zeros(4, 3), "charges": torch.zeros(4, 9)}, False, {"dipole": "vector", "charges": "scalar"}),
    ],
)
def test_an_output_is_told_by_name_or_by_what_it_answers(tree: Any, images: bool, expected: dict[str, str]) -> None:
    assert chosen(tree, "output", answers_images=images) == expected


@pytest.mark.parametrize(
    ("tree", "side", "images"),
    [
        (torch.zeros(4, 6), "input", False),
        (torch.zeros(4, 7, 6), "input", False),
        ({"pos": torch.zeros(4, 6)}, "input", False),  # several points, or none
        ({"cell": torch.zeros(3, 3)}, "input", False),
        (torch.zeros(4, 2, dtype=torch.complex64), "input", False),
        (torch.zeros(4, 10), "output", False),  # classes of a cloud, or a vector
        (IMAGE, "output", True),  # a picture, a mask, or a field of vectors
        ({"z": torch.zeros(4, 16)}, "output", False),
        (torch.zeros(4, 5, 3), "output", False),
    ],
)
def test_what_could_move_or_stay_is_refused(tree: Any, side: str, images: bool) -> None:
    with pytest.raises(
        AmbiguousPath, match=rf"auto for the {side}.*\d\).*Write '.*' if it moves.*'.*scalar' if it stays"
    ):
        choose_actions(tree, side, answers_images=images)


def test_the_correction_can_be_pasted() -> None:
    x = {"pos": torch.randn(4, 3), "h": torch.randn(4, 6), "z": torch.ones(4).long()}
    with pytest.raises(AmbiguousPath) as caught:
        Symmetry.parse("SO(3) on auto -> scalar").bind(x)
    assert "h: float32 (4, 6)" in str(caught.value) and "pos" not in caught.value.got
    moving, still = caught.value.remedy.split("'")[1::2]
    assert still == "pos=points, h=scalar, z=scalar"
    for side in (moving, still):
        assert len(Symmetry.parse(f"SO(3) on {side} -> scalar").bind(x).input.parts) == 3


def test_a_symmetry_completes_itself_and_says_how() -> None:
    symmetry = Symmetry.parse("SO(2) on auto -> auto", name="turns")
    assert symmetry.sentence == "SO(2) on auto -> auto" and symmetry.choices == ""
    assert Symmetry.parse(symmetry.sentence).sentence == symmetry.sentence
    symmetry.bind({"x": IMAGE, "t": torch.zeros(4)}, torch.zeros(4, 10))
    assert symmetry.sentence == "SO(2) on x=image, t=scalar -> label"
    assert symmetry.choices.splitlines() == [
        "input: x=image (four axes, (B, C, H, W)), t=scalar (one number a row)",
        "output: label ((B, K) answered to an image)",
    ]
    assert Symmetry.parse(symmetry.sentence).bind({"x": IMAGE, "t": torch.zeros(4)}).choices == ""


def test_auto_completes_what_was_begun() -> None:
    x = {"pos": torch.randn(4, 3), "h": torch.randn(4, 3), "z": torch.ones(4).long()}
    symmetry = Symmetry.parse("SO(3) on h=vector, auto -> energy=scalar, auto")
    assert symmetry.input.sentence == "h=vector, auto"
    symmetry.bind(x, {"energy": torch.zeros(4, 7), "force": torch.zeros(4, 3)})
    assert symmetry.sentence == "SO(3) on h=vector, pos=points, z=scalar -> energy=scalar, force=vector"


def test_without_words_a_group_is_learnt() -> None:
    symmetry = Symmetry.parse("auto -> auto").bind(IMAGE, torch.zeros(4, 10))
    assert symmetry.learnable and symmetry.group.dim == 2 and not symmetry.moves_output


def test_auto_does_not_guess_which_tensors_are_of_nodes() -> None:
    with pytest.raises(InvalidSetting, match="reorders nodes"):
        Symmetry.parse("permutations on auto -> scalar").bind({"pos": torch.zeros(4, 5, 3)})


def test_a_word_that_is_no_action_is_refused() -> None:
    with pytest.raises(UnknownName, match="auto"):
        Symmetry.parse("SO(2) on x=auto -> label")


@pytest.mark.parametrize(
    "words", ["image", "points", "vector", "scalar", "label", "mask", "box", "keypoints", "lattice"]
)
def test_every_word_that_may_be_chosen_is_an_action(words: str) -> None:
    assert isinstance(by_name(words), Action)


def test_chosen_vectors_move_as_written_ones() -> None:
    x = {"pos": torch.randn(4, 3), "velocity": torch.randn(4, 3)}
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).repeat(4, 1, 1)
    moved: Tensor = Symmetry.parse("SO(3) on auto -> scalar").move_input(turn, x)["velocity"]
    torch.testing.assert_close(moved, x["velocity"] @ turn[0].T)
