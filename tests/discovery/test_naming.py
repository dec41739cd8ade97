"""Names of generators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.discovery import name_generator
from lightning_symmetry.discovery.naming import name_in
from lightning_symmetry.groups import SO, Intensity

J = torch.tensor([[0.0, -1.0], [1.0, 0.0]])


def homogeneous(linear: Tensor, offset: list[float]) -> Tensor:
    matrix = torch.zeros(len(linear) + 1, len(linear) + 1)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, torch.tensor(offset)
    return matrix


PLANE = {
    "rotation": J,
    "scaling": torch.eye(2),
    "stretch along x": torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
    "squeeze of x against y": torch.tensor([[1.0, 0.0], [0.0, -1.0]]),
    "squeeze along the diagonals (boost)": torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
    "shear of x along y": torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
    "rotation with scaling": J + torch.eye(2),
}


@pytest.mark.parametrize("size", [0.01, -3.0])
@pytest.mark.parametrize("name", PLANE)
def test_directions_of_the_plane(name: str, size: float) -> None:
    noise = 0.03 * torch.randn(2, 2, generator=torch.Generator().manual_seed(0))
    for matrix, affine in ((PLANE[name] + noise, False), (homogeneous(PLANE[name], [0.02, -0.02]), True)):
        naming = name_generator(size * matrix, 2, affine)
        assert naming.name == name
        assert 0.95 <= naming.cosine <= 1


def test_motions_of_the_plane() -> None:
    still = torch.zeros(2, 2)
    assert name_generator(homogeneous(still, [0.0, 2.0]), 2, True).name == "translation along y"
    assert name_generator(homogeneous(still, [1.0, 2.0]), 2, True).name == "translation"
    # turning about c is x -> J (x - c)
    about = homogeneous(J, (-J @ torch.tensor([0.5, -0.25])).tolist())
    assert name_generator(about, 2, True).name == "rotation about the point (0.50, -0.25)"


def test_directions_in_space() -> None:
    rotation = torch.zeros(3, 3)
    rotation[2, 0], rotation[0, 2] = 1.0, -1.0
    assert name_generator(rotation, 3).name == "rotation about y"
    tilted = rotation.clone()
    tilted[1, 0], tilted[0, 1] = 1.0, -1.0
    assert name_generator(tilted, 3).name == "rotation"
    assert name_generator(torch.eye(3), 3).name == "scaling"
    boost = torch.zeros(4, 4)
    boost[0, 2] = boost[2, 0] = 1.0
    assert name_generator(boost, 4).name == "boost in the plane (0, 2)"
    boost[0, 3] = boost[3, 0] = 1.0
    assert name_generator(boost, 4).name == "Lorentz transformation"


def test_planes_that_turn_together() -> None:
    naming = name_generator(2 * torch.block_diag(J, J, J, J), 8)
    assert naming.name == "rotation of 4 planes together"
    assert naming.cosine == pytest.approx(1.0)
    assert name_generator(torch.block_diag(J, 3 * J, J, -J), 8).name == "rotation of 4 planes, each at its own speed"


def test_what_has_no_name_is_mixed() -> None:
    naming = name_generator(torch.tensor([[1.0, 0.3], [-2.0, 0.5]]), 2)
    assert naming.name == "mixed"
    assert naming.cosine < 0.95
    assert name_generator(torch.zeros(2, 2), 2).name == "nothing"
    assert name_generator(torch.full((2, 2), torch.nan), 2).name == "mixed"


def test_changes_of_values_have_their_own_names() -> None:
    group = (SO(2) * Intensity()).bind(2)
    turn, contrast, brightness = group.basis()
    about = contrast - 0.5 * brightness
    names = [
        name_in(group, g).name for g in (turn, contrast, brightness, 2 * about, turn + contrast, turn + 0.01 * about)
    ]
    assert names[:3] == ["rotation", "contrast", "brightness"]
    assert names[3:] == ["contrast about the value 0.50", "rotation with contrast", "rotation"]
    assert [name_in(Intensity(), g).name for g in Intensity().basis()] == ["contrast", "brightness"]
    assert name_in(group, torch.zeros(4, 4)).name == "nothing"
