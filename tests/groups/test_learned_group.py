from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lightning_symmetry.exceptions import DimensionMismatch, InvalidFile, InvalidSetting
from lightning_symmetry.groups import Given, Group, Learned
from lightning_symmetry.testing import GroupContract


class TestLearned(GroupContract):
    subject = Learned
    dim = 3

    def make(self) -> Group:
        return Learned(count=2)


class TestLearnedAffineOfThePlane(GroupContract):
    subject = Learned
    affine = True

    def make(self) -> Group:
        return Learned(count=3)


class TestLearnedBlocks(GroupContract):
    subject = Learned
    dim = 8

    def make(self) -> Group:
        return Learned(8, count=2, affine=False, blocks=2)


class TestLearnedUnequalBlocks(GroupContract):
    subject = Learned
    dim = 6
    affine = True

    def make(self) -> Group:
        return Learned(count=2, blocks=[1, 2, 3])


class TestGiven(GroupContract):
    subject = Given

    def make(self) -> Group:
        return Given([[[0.0, -1.0], [4.0, 0.0]], [[1.0, 0.0], [0.0, 0.5]]])


class TestGivenHomogeneous(GroupContract):
    subject = Given

    def make(self) -> Group:
        return Given([[[0, -1, 2], [1, 0, 0], [0, 0, 0]]], name="spiral", affine=True)


def test_mask_confines_generators_and_gradients() -> None:
    group = Learned(4, blocks=2, affine=False)
    mask = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2))
    group.exp(torch.ones(3, 1)).linear.square().sum().backward()
    assert group.weight is not None and group.weight.grad is not None
    for matrix in (group.weight, group.weight.grad, group.basis(), group.exp(torch.ones(1, 1)).linear):
        assert bool((matrix[:, mask == 0] == 0).all())


def test_blocks_do_not_call_the_large_matrix_exponential(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Learned(8, blocks=2, affine=False)
    expected = torch.matrix_exp(group.basis()).expand(2, -1, -1)
    monkeypatch.setattr(torch, "matrix_exp", lambda a: pytest.fail("the blocks have a closed form"))
    torch.testing.assert_close(group.exp(torch.ones(2, 1)).linear, expected)


def test_initial_generators_have_the_scale_and_ignore_the_global_seed() -> None:
    torch.manual_seed(1)
    first = Learned(20, count=10, affine=False, scale=0.3)
    torch.manual_seed(2)
    second = Learned(20, count=10, affine=False, scale=0.3)
    assert torch.equal(first.basis(), second.basis())
    assert not torch.equal(first.basis(), Learned(20, count=10, affine=False, seed=1).basis())
    torch.testing.assert_close(first.basis().std(), torch.tensor(0.3), atol=0.01, rtol=0)


def test_affine_is_decided_when_bound() -> None:
    assert Learned(2).bind(2, affine=True).basis().shape == (1, 3, 3)
    assert Learned(2).bind(2, affine=False).basis().shape == (1, 2, 2)
    assert Learned(2, affine=False).bind(2, affine=True).basis().shape == (1, 2, 2)


def test_loaded_weight_decides_about_translations() -> None:
    saved = Learned(2, affine=True, seed=3).state_dict()
    group = Learned()
    group.load_state_dict(saved)
    assert group.bind(2).affine
    other = Learned()
    other.load_state_dict(saved)
    with pytest.raises(DimensionMismatch, match="loaded generators"):
        other.bind(5)


@pytest.mark.parametrize("blocks", [3, [1, 2]])
def test_blocks_must_fill_the_dimension(blocks: int | list[int]) -> None:
    with pytest.raises(DimensionMismatch, match="sum to 4"):
        Learned(4, affine=False, blocks=blocks)


def test_at_least_one_generator() -> None:
    with pytest.raises(InvalidSetting):
        Learned(count=0)


def test_given_reads_a_file(tmp_path: Path) -> None:
    basis = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    save_file({"basis": basis, "other": basis[0].clone()}, tmp_path / "found.safetensors")
    group = Given(tmp_path / "found.safetensors").bind(3)
    assert torch.equal(group.basis(), basis)
    assert not group.learnable


def test_given_refuses_broken_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile):
        Given(tmp_path / "missing.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(InvalidFile):
        Given(str(tmp_path / "broken.safetensors"))
    save_file({"a": torch.eye(2), "b": torch.eye(2)}, tmp_path / "two.safetensors")
    with pytest.raises(InvalidFile, match="the key 'basis'"):
        Given(tmp_path / "two.safetensors")


def test_given_refuses_what_is_not_a_basis() -> None:
    with pytest.raises(InvalidSetting):
        Given([[1.0, 2.0]])
    with pytest.raises(InvalidSetting):
        Given([[[float("nan")]]])
    with pytest.raises(InvalidSetting, match="last row"):
        Given(torch.ones(1, 3, 3)).bind(2)
    with pytest.raises(DimensionMismatch):
        Given(torch.ones(1, 3, 3)).bind(5)


@pytest.mark.parametrize(("dim", "count"), [(2, 2), (3, 4), (28, 16)])
def test_an_open_count_leaves_one_spare_beside_the_rotations(dim: int, count: int) -> None:
    group = Learned(count=None).bind(dim)
    assert group.count == count and group.sentence == "learned"
    twin = Learned(count=None)
    twin.load_state_dict(group.state_dict())
    assert twin.bind(dim).count == count
