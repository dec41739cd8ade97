"""Actions where users meet them: a map that has a symmetry commutes with it, whatever the kinds of data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.paths import find_leaves
from lightning_symmetry.symmetrization import conjugate
from lightning_symmetry.symmetry import Symmetry


def draw(*shape: int, counter: int = 0) -> Tensor:
    return Rng(11, counter).normal(*shape, dtype=torch.float64)


def spin(batch: dict[str, Tensor]) -> Tensor:
    """The angular momentum of every particle, and the volume of the cell with its sign."""
    return torch.linalg.cross(batch["pos"], batch["vel"])


def handedness(batch: dict[str, Tensor]) -> Tensor:
    return torch.linalg.det(batch["cell"])


def bonds(batch: dict[str, Tensor]) -> Tensor:
    """Forces of springs along a padded list of bonds, as stiff as the charges of the ends."""
    pos, charge, out = batch["pos"], batch["charge"], torch.zeros_like(batch["pos"])
    for b in range(len(pos)):
        for i, j in batch["bonds"][b].tolist():
            if i >= 0:
                out[b, i] += charge[b, i] * charge[b, j] * (pos[b, j] - pos[b, i])
    return out


def divergence(batch: dict[str, Tensor]) -> Tensor:
    flow = batch["flow"]
    return (torch.gradient(flow[:, 0], dim=2)[0] + torch.gradient(flow[:, 1], dim=1)[0]).unsqueeze(1)


def threshold(batch: dict[str, Tensor]) -> Tensor:
    return (batch["image"][:, 0] > 0).long()


def peak(batch: dict[str, Tensor]) -> Tensor:
    """The brightest pixel, as a keypoint."""
    image = batch["image"]
    place = image.flatten(1).argmax(1)
    return torch.stack((place % image.shape[-1], place // image.shape[-1]), -1).to(image.dtype).unsqueeze(1)


def around(batch: dict[str, Tensor]) -> Tensor:
    """The box of all bright pixels."""
    rows, columns = ((batch["image"][:, 0] > 1).any(axis) for axis in (2, 1))
    found = []
    for row, column in zip(rows, columns, strict=True):
        (top, bottom), (left, right) = ((int(v.nonzero().min()), int(v.nonzero().max()) + 1) for v in (row, column))
        found.append([left, top, right, bottom])
    return torch.tensor(found).double()


BONDS = torch.tensor([[[0, 1], [1, 3], [3, 4]], [[2, 4], [0, 3], [-1, -1]]])
CASES = {
    "O(3) on pos=vector, vel=vector -> pseudovector": (spin, {"pos": draw(2, 5, 3), "vel": draw(2, 5, 3, counter=1)}),
    "O(3) on cell=lattice -> pseudoscalar": (handedness, {"cell": draw(2, 3, 3)}),
    "E(3) * permutations on pos=points, charge=nodes, bonds=index -> vector": (
        bonds,
        {"pos": draw(2, 5, 3), "charge": draw(2, 5, counter=1), "bonds": BONDS},
    ),
    "D4 on flow=field -> image": (divergence, {"flow": draw(2, 2, 7, 7)}),
    "D4 on image=image -> mask": (threshold, {"image": draw(2, 1, 8, 8)}),
    "D4 on image=image -> keypoints(canvas_size=(8, 8))": (peak, {"image": draw(2, 1, 8, 8)}),
    "D4 on image=image -> box(canvas_size=(8, 8))": (around, {"image": draw(2, 1, 8, 8)}),
}


@pytest.mark.parametrize("sentence", list(CASES))
def test_a_map_that_has_the_symmetry_commutes_with_it(sentence: str) -> None:
    f, batch = CASES[sentence]
    symmetry = Symmetry.parse(sentence)
    symmetry.bind(batch, f(batch))
    g, _ = symmetry.sample(batch, 1, Rng(1))
    torch.testing.assert_close(conjugate(f, g, symmetry)(batch), f(batch), check_dtype=True)
    moved = symmetry.move_input(g, batch)
    assert all(leaf.shape == moved[path].shape for path, leaf in find_leaves(batch).items())


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        ("O(3) on pos=vector, vel=vector -> pseudovector", "O(3) on pos=vector, vel=vector -> vector"),
        ("D4 on flow=field -> image", "D4 on flow=image -> image"),
        (
            "E(3) * permutations on pos=points, charge=nodes, bonds=index -> vector",
            "E(3) * permutations on pos=points, charge=nodes, bonds=scalar -> vector",
        ),
    ],
)
def test_the_wrong_word_is_seen(sentence: str, wrong: str) -> None:
    f: Callable[[Any], Tensor]
    f, batch = CASES[sentence]
    symmetry = Symmetry.parse(wrong)
    differences = []
    for counter in range(4):
        g, _ = symmetry.sample(batch, 1, Rng(1, counter))
        differences.append(float((conjugate(f, g, symmetry)(batch) - f(batch)).abs().max()))
    assert max(differences) > 0.1


@pytest.mark.parametrize("sentence", list(CASES))
def test_axioms_hold(sentence: str) -> None:
    _, batch = CASES[sentence]
    Symmetry.parse(sentence).check(batch, Rng(2))
