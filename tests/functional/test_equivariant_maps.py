"""Maps between tensors that commute with groups: known dimensions, projector laws, and the group average."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.equivariant_maps import APPROXIMATE, EquivariantMaps, tensor_power
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element, Given, Group, Learned, Permutations, by_name
from lightning_symmetry.losses.matrices import Matrices

RANKS = [(i, o) for i, o in product(range(3), repeat=2)]


def maps_of(group: Group | str) -> EquivariantMaps:
    found = Matrices.of(by_name(group) if isinstance(group, str) else group)
    return EquivariantMaps(found.generators, found.elements, found.tolerance)


def matrices(g: Element) -> Tensor:
    """Write elements as float64 matrices."""
    dim = g.dim
    axes = torch.eye(dim, dtype=torch.float64).expand(len(g), dim, dim)
    return g(axes) if g.acts_on == "nodes" else g.push(axes).mT


def test_dimensions_are_those_of_the_textbook() -> None:
    pairs = [(0, 0), (1, 1), (1, 2), (2, 0), (2, 2)]
    known = {
        "O(3)": [1, 1, 0, 1, 3],
        "SO(3)": [1, 1, 1, 1, 3],
        "about(z, mirrors=True)": [1, 2, 4, 2, 10],
        "about(z)": [1, 3, 7, 3, 19],
        "tilts(z)": [1, 1, 1, 1, 3],
        "Lorentz(4)": [1, 1, 0, 1, 4],
        "scale(3)": [1, 9, 0, 0, 81],
        "SO(3) * scale(3)": [1, 1, 0, 0, 3],
        "permutations(5)": [1, 2, 5, 2, 15],
        "SO(2)": [1, 2, 0, 2, 6],
        "C4": [1, 2, 0, 2, 8],
        "D4": [1, 1, 0, 1, 4],
    }
    for group, dimensions in known.items():
        maps = maps_of(group)
        assert [maps.basis(*pair).shape[1] for pair in pairs] == dimensions, group


def test_pseudo_tensors_need_the_other_sign_in_mirrors() -> None:
    maps = maps_of("O(3)")
    # the antisymmetric tensor is the map from axial vectors to matrices, and none from vectors
    assert maps.basis(1, 2).shape[1] == 0
    epsilon = maps.basis(1, 2, odd=True)
    assert epsilon.shape[1] == 1
    matrix = epsilon[:, 0].view(3, 3, 3)
    torch.testing.assert_close(matrix, -matrix.transpose(0, 1))
    assert maps.basis(1, 1, odd=True).shape[1] == 0


@pytest.mark.parametrize(
    "group", ["O(3)", "about(x, mirrors=True)", "Lorentz(4)", "scale(3)", "SO(3) * scale(3)", "permutations(4)", "D4"]
)
def test_projectors_obey_their_laws_and_commute_with_the_group(group: str) -> None:
    maps, known = maps_of(group), by_name(group)
    for i, o in RANKS:
        projector = torch.eye(maps.dim ** (i + o), dtype=torch.float64) - maps.complement(i, o)
        torch.testing.assert_close(projector @ projector, projector, atol=1e-12, rtol=0)
        torch.testing.assert_close(projector, projector.mT, atol=1e-12, rtol=0)
        weight = (projector @ Rng(i, o).normal(len(projector), dtype=torch.float64)).view(maps.dim**o, -1)
        g = matrices(known.double().sample(8, Rng(2)))
        moved = tensor_power(g, o) @ weight - weight @ tensor_power(g, i)
        assert float(moved.abs().max()) < 1e-6


@pytest.mark.parametrize("mirrors", [False, True])
def test_the_projection_is_the_average_over_a_compact_group(mirrors: bool) -> None:
    maps = maps_of(f"about(z, mirrors={mirrors})")
    # tensors up to rank 4 have frequencies up to 4: sixteen angles integrate them exactly
    angle = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    turn = torch.zeros(16, 3, 3, dtype=torch.float64)
    turn[:, 0, 0], turn[:, 1, 1], turn[:, 0, 1], turn[:, 1, 0] = angle.cos(), angle.cos(), -angle.sin(), angle.sin()
    turn[:, 2, 2] = 1
    g = torch.cat((turn, turn * turn.new_tensor((-1.0, 1.0, 1.0)))) if mirrors else turn
    for i, o in RANKS:
        weight = Rng(i, o).normal(3**o, 3**i, dtype=torch.float64)
        average = (tensor_power(g, o).mT @ weight @ tensor_power(g, i)).mean(0)
        found = weight.flatten() - maps.complement(i, o) @ weight.flatten()
        torch.testing.assert_close(found, average.flatten(), atol=1e-12, rtol=0)


def test_the_projection_is_the_mean_over_random_rotations() -> None:
    maps = maps_of("SO(3)")
    noise = Rng(0).normal(20000, 3, 3, dtype=torch.float64)
    q, r = torch.linalg.qr(noise)
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    g = q * torch.linalg.det(q)[:, None, None]
    for i, o in ((1, 1), (1, 2), (2, 2)):
        weight = Rng(i, o).normal(3**o, 3**i, dtype=torch.float64)
        moved = tensor_power(g, o).mT @ weight @ tensor_power(g, i)
        found = weight.flatten() - maps.complement(i, o) @ weight.flatten()
        # five standard errors of a mean of 20000
        allowed = 5 * moved.std(0).flatten().max() / math.sqrt(20000)
        assert float((found - moved.mean(0).flatten()).abs().max()) < float(allowed)


def test_estimated_generators_are_forgiven_their_errors() -> None:
    exact = by_name("SO(3)").basis()
    noisy = 0.4 * (exact + 0.01 * Rng(0).normal(3, 3, 3))
    learnt = Learned(3, 3, affine=False)
    learnt.load_state_dict({name: noisy for name in learnt.state_dict()})
    for group in (Given(noisy, affine=False), learnt.requires_grad_(False)):
        maps = maps_of(group)
        assert maps.tolerance == APPROXIMATE
        assert [maps.basis(i, o).shape[1] for i, o in ((1, 1), (1, 2), (2, 2))] == [1, 1, 3]


def test_the_scale_of_generators_does_not_matter() -> None:
    small = EquivariantMaps(1e-9 * by_name("SO(3)").basis(), torch.eye(3)[None])
    assert small.basis(2, 2).shape[1] == 3


def test_two_permutations_stand_for_all() -> None:
    group = Permutations(4)
    every = torch.eye(4, dtype=torch.float64)[group.discrete.order]
    all_of_them = EquivariantMaps(torch.zeros(0, 4, 4), every)
    for i, o in RANKS:
        torch.testing.assert_close(maps_of(group).complement(i, o), all_of_them.complement(i, o), atol=1e-10, rtol=0)


def test_too_many_unknowns_are_refused() -> None:
    with pytest.raises(DimensionMismatch, match="lower rank"):
        maps_of("permutations(7)").basis(2, 2)
