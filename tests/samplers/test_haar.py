"""The Haar law: invariance under translation, and known densities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import (
    GL,
    SE,
    SO,
    AffineMap,
    Cyclic,
    Dihedral,
    E,
    Group,
    Lorentz,
    O,
    Permutation,
    Permutations,
    Scale,
    Translation,
    by_name,
)
from lightning_symmetry.samplers import Haar, Sampler
from lightning_symmetry.testing import SamplerContract


class TestHaar(SamplerContract):
    subject = Haar
    any_group = False

    def make(self, group: Group | None = None) -> Sampler:
        return Haar(group, shift=0.5)


class TestHaarOfReflections(TestHaar):
    def group(self) -> Group:
        return E(3)


class TestHaarInHighDimensions(TestHaar):
    def group(self) -> Group:
        return O(5)


class TestHaarOfAFiniteGroup(TestHaar):
    def group(self) -> Group:
        return Dihedral(3)


class TestHaarOfTranslations(TestHaar):
    def group(self) -> Group:
        return Translation(2)


def draw(group: Group, rows: int = 20000, seed: int = 0, shift: float = 0.0) -> AffineMap:
    g, _ = Haar(group, shift).sample(torch.zeros(rows, 1, dtype=torch.float64), 1, Rng(seed))
    assert isinstance(g, AffineMap)
    return g


@pytest.mark.parametrize("group", [SO(2), SO(3), SO(4), O(2), O(3), O(4)], ids=lambda g: g.sentence)
def test_elements_are_rotations_and_half_of_the_mirrored_ones_are_mirrors(group: Group) -> None:
    linear = draw(group).linear
    torch.testing.assert_close(linear.mT @ linear, torch.eye(linear.shape[-1]).to(linear).expand_as(linear))
    mirrors = float((torch.linalg.det(linear) < 0).double().mean())
    assert mirrors == 0 if isinstance(group, SO) else abs(mirrors - 0.5) < 0.02


@pytest.mark.parametrize("group", [SO(2), SO(3), SO(4), O(2), O(3)], ids=lambda g: g.sentence)
def test_moments_are_those_of_the_uniform_law(group: Group) -> None:
    linear = draw(group).linear
    d = linear.shape[-1]
    # with 20000 draws of entries in [-1, 1], five standard errors are below 0.036
    assert float(linear.mean(0).abs().max()) < 0.036
    second = torch.einsum("bij,bkl->ijkl", linear, linear) / len(linear)
    eye = torch.eye(d).to(linear)
    expected = torch.einsum("ik,jl->ijkl", eye, eye) / d
    if isinstance(group, SO) and d == 2:
        # in the plane, R and its cofactors are not independent
        turn = SO(2).basis()[0].to(linear)
        expected = expected + torch.einsum("ik,jl->ijkl", turn, turn) / 2
    torch.testing.assert_close(second, expected, atol=0.036, rtol=0)


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_moving_all_draws_by_one_rotation_leaves_their_law(dim: int) -> None:
    linear = draw(SO(dim)).linear
    fixed = SO(dim).exp(torch.linspace(0.5, 1.5, SO(dim).count, dtype=torch.float64)[None]).linear[0]

    def moments(m: Tensor) -> Tensor:
        traces = torch.stack([torch.linalg.matrix_power(m, k).diagonal(dim1=1, dim2=2).sum(1) for k in (1, 2, 3)])
        return torch.cat((traces, traces.square(), (m[:, 0, 0] ** 4)[None])).mean(1)

    for moved in (fixed @ linear, linear @ fixed):
        # five standard errors of means of numbers whose deviation is below 2 for traces, below 6 for their squares
        torch.testing.assert_close(moments(moved), moments(linear), atol=0.2, rtol=0.05)


def test_angles_in_space_have_their_density() -> None:
    linear = draw(SO(3)).linear
    angle = ((linear.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos().sort().values
    # density (1 - cos a) / pi on [0, pi]; Kolmogorov's distance is below 1.95 / sqrt n in all but one of 1000 samples
    expected = (angle - angle.sin()) / torch.pi
    ranks = (torch.arange(len(angle)) + 0.5) / len(angle)
    assert float((expected - ranks).abs().max()) < 1.95 / len(angle) ** 0.5


def test_uniform_coordinates_are_not_uniform_rotations() -> None:
    crowded = SO(3).sample(20000, Rng(0), width=torch.pi)
    assert isinstance(crowded, AffineMap)
    assert float(crowded.linear.mean(0).abs().max()) > 0.1


@pytest.mark.parametrize("group", [SO(2), SO(3), SE(2), SE(3)], ids=lambda g: g.sentence)
def test_coordinates_give_the_element_back(group: Group) -> None:
    g = draw(group, rows=500, shift=0.7)
    assert g.coordinates is not None
    again = group.exp(g.coordinates)
    assert isinstance(again, AffineMap)
    torch.testing.assert_close(again.linear, g.linear)
    if g.offset is not None:
        torch.testing.assert_close(again.offset, g.offset)


def test_translations_fill_their_box() -> None:
    g = draw(SE(3), shift=0.7)
    assert g.offset is not None and float(g.offset.abs().max()) <= 0.7
    torch.testing.assert_close(g.offset.std(0), torch.full((3,), 0.7 / 3**0.5).double(), rtol=0.03, atol=0)


def test_finite_groups_are_uniform() -> None:
    g = draw(Cyclic(4), rows=4000)
    counts = g.linear.round().flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 4 and float((counts / 1000 - 1).abs().max()) < 0.15


def test_permutations_are_uniform() -> None:
    g, _ = Haar(Permutations(3)).sample(torch.zeros(6000, 3, 1), 1, Rng(0))
    counts = g(torch.arange(3.0).reshape(1, 3, 1).expand(6000, -1, -1)).flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 6 and float((counts / 1000 - 1).abs().max()) < 0.15


def test_products_draw_their_factors_independently() -> None:
    group = SO(3) * Permutations(4)
    g, _ = Haar(group).sample(torch.zeros(3000, 1, dtype=torch.float64), 2, Rng(0))
    space, nodes = g.part("space"), g.part("nodes")
    assert isinstance(space, AffineMap) and isinstance(nodes, Permutation) and len(g) == 6000
    # five standard errors of the mean of entries of deviation 0.58
    assert float(space.linear.mean(0).abs().max()) < 0.04
    first = torch.nn.functional.one_hot(nodes.order[:, 0]).double()
    assert float((first.mean(0) - 0.25).abs().max()) < 0.03
    assert float(torch.corrcoef(torch.cat((space.linear.flatten(1), first), 1).T)[:9, 9:].abs().max()) < 0.06


def test_a_product_of_turns_and_a_finite_part_is_uniform_on_both() -> None:
    linear = draw(SO(2) * Dihedral(3)).linear
    assert abs(float((torch.linalg.det(linear) < 0).double().mean()) - 0.5) < 0.02
    assert float(linear.mean(0).abs().max()) < 0.036


def test_translations_may_be_a_factor_of_their_own() -> None:
    g = draw(Translation(2) * SO(2), shift=0.5)
    assert g.offset is not None and g.coordinates is None
    assert float(g.offset.abs().max()) <= 0.5 and float(g.linear.mean(0).abs().max()) < 0.036


def test_a_union_draws_one_member_at_a_time() -> None:
    g = draw(SO(2) | Translation(2), shift=0.5)
    assert g.offset is not None
    still = (g.linear - torch.eye(2)).abs().amax((1, 2)) < 1e-12
    assert abs(float(still.double().mean()) - 0.5) < 0.02
    assert bool((g.offset[~still] == 0).all() and (g.offset[still] != 0).any(1).all())
    turns = torch.atan2(g.linear[~still, 1, 0], g.linear[~still, 0, 0])
    assert abs(float(turns.std()) / (torch.pi / 3**0.5) - 1) < 0.03


@pytest.mark.parametrize(
    "group", [GL(2), Scale(2), Lorentz(4), Translation(2), by_name("affine(2)"), SO(2) * Scale(2)], ids=str
)
def test_groups_without_a_uniform_law_are_refused(group: Group) -> None:
    with pytest.raises(InvalidSetting, match="Uniform with a width"):
        Haar(group)
