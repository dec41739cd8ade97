from __future__ import annotations

import pytest
import torch

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, SO, Cyclic, Dihedral, E, Group, Learned, O
from lightning_symmetry.samplers import Normal, OneHot, Sampler, Uniform
from lightning_symmetry.testing import SamplerContract


class TestUniform(SamplerContract):
    subject = Uniform

    def make(self, group: Group | None = None) -> Sampler:
        # the contract's own group, which may come later, has three generators, its learned one two
        return Uniform(group, width=[0.5, 1.0] if isinstance(group, Learned) else [0.5, 1.0, 2.0])


class TestLearnableUniform(SamplerContract):
    subject = Uniform

    def make(self, group: Group | None = None) -> Sampler:
        return Uniform(group, learnable=True)


class TestNormal(SamplerContract):
    subject = Normal

    def make(self, group: Group | None = None) -> Sampler:
        return Normal(group, width=0.5)


class TestNormalWithFinitePart(TestNormal):
    def group(self) -> Group:
        return E(3)


class TestOneHot(SamplerContract):
    subject = OneHot

    def make(self, group: Group | None = None) -> Sampler:
        return OneHot(group, width=2.0)


def coordinates(sampler: Sampler, rows: int = 4000) -> torch.Tensor:
    g, _ = sampler.sample(torch.zeros(rows, 1, dtype=torch.float64), 1, Rng(0))
    assert g.coordinates is not None
    return g.coordinates.detach()


def test_uniform_fills_its_interval() -> None:
    t = coordinates(Uniform(SE(2), width=[0.5, 1.0, 2.0]))
    widths = torch.tensor([0.5, 1.0, 2.0], dtype=t.dtype)
    assert bool((t.abs() <= widths).all())
    torch.testing.assert_close(t.std(0), widths / 3**0.5, rtol=0.05, atol=0)
    torch.testing.assert_close(t.mean(0), torch.zeros(3, dtype=t.dtype), rtol=0, atol=0.06)


def test_normal_has_its_standard_deviation() -> None:
    t = coordinates(Normal(SO(3), width=0.5))
    torch.testing.assert_close(t.std(0), torch.full((3,), 0.5, dtype=t.dtype), rtol=0.05, atol=0)
    torch.testing.assert_close(t.pow(4).mean(0), torch.full((3,), 3 * 0.5**4, dtype=t.dtype), rtol=0.15, atol=0)
    correlation = torch.corrcoef(t.T) - torch.eye(3)
    assert float(correlation.abs().max()) < 0.05


def test_one_hot_is_fair() -> None:
    t = coordinates(OneHot(SO(3), width=2.0))
    assert bool(((t != 0).sum(1) == 1).all()) and float(t.abs().max()) <= 2
    torch.testing.assert_close((t != 0).double().mean(0), torch.full((3,), 1 / 3, dtype=t.dtype), rtol=0.1, atol=0)


def test_finite_part_is_uniform() -> None:
    g, _ = Uniform(O(2)).sample(torch.zeros(2000, 1), 2, Rng(0))
    share = (torch.linalg.det(g(torch.eye(2).expand(4000, -1, -1))) > 0).double().mean()
    assert abs(float(share) - 0.5) < 0.04


@pytest.mark.parametrize("sampler", [Uniform, Normal, OneHot])
def test_groups_without_generators_are_sampled(sampler: type[Sampler]) -> None:
    group = Dihedral(4)
    g, _ = sampler(group).sample(torch.zeros(400, 1), 1, Rng(0))
    moved = g(torch.tensor([[[1.0, 2.0]]])).round().int().flatten(1)
    assert len(moved.unique(dim=0)) == 8


def test_widths_are_learnt_one_a_generator() -> None:
    sampler = Normal(SE(2), width=[0.1, 1.0, 30.0])
    torch.testing.assert_close(sampler.widths, torch.tensor([0.1, 1.0, 30.0]))
    g, _ = sampler.sample(torch.zeros(8, 1), 2, Rng(0))
    g(torch.ones(16, 1, 2)).square().sum().backward()
    assert sampler.raw_width is not None and sampler.raw_width.grad is not None
    assert bool((sampler.raw_width.grad != 0).all())
    assert not list(Normal(SE(2), learnable=False).parameters())


def test_learnable_widths_appear_when_the_dimension_is_known() -> None:
    group = SO()
    sampler = Normal(group)
    assert sampler.raw_width is None
    group.bind(3)
    assert sampler.bind().raw_width is not None and sampler.widths.shape == (3,)


def test_group_and_sampler_share_parameters_once() -> None:
    group = Learned(2, affine=False)
    sampler = Uniform(group)
    assert [id(p) for p in sampler.parameters()] == [id(p) for p in group.parameters()]


def test_wrong_widths_are_refused() -> None:
    with pytest.raises(InvalidSetting):
        Uniform(SO(2), width=-1.0)
    with pytest.raises(InvalidSetting, match="positive"):
        Normal(SO(2), width=0.0)
    with pytest.raises(InvalidSetting, match="2 widths for 3"):
        Uniform(SO(3), width=[1.0, 2.0]).sample(torch.zeros(1, 1), 1, Rng(0))
    assert float(coordinates(Uniform(SO(2), width=0.0)).abs().max()) == 0


def test_data_decide_type_and_rows() -> None:
    for dtype, expected in (
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float32),
        (torch.long, torch.float32),
    ):
        g, weights = Uniform(Cyclic(3)).sample(torch.zeros(2, 5).to(dtype), 1, Rng(0))
        assert weights.dtype == expected and len(g) == 2
