"""Logarithms of rotations and rigid motions undo the exponential; laws of uniform rotations are in tests/samplers."""

from __future__ import annotations

import pytest
import torch

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.rotations import log_rigid, log_rotation, uniform_rotations
from lightning_symmetry.groups import SE, SO, AffineMap


@pytest.mark.parametrize("dim", [2, 3])
def test_the_exponential_undoes_the_logarithm(dim: int) -> None:
    turns = uniform_rotations(Rng(0).normal(500, dim, dim, dtype=torch.float64))
    turns[0] = torch.eye(dim)
    turns[1] = -torch.eye(dim)
    turns[1, -1, -1] = 1 if dim == 3 else -1  # half a turn
    t = log_rotation(turns)
    assert float(t.norm(dim=1).max()) <= torch.pi + 1e-12
    torch.testing.assert_close(SO(dim).exp(t).linear, turns)
    shift = Rng(1).normal(500, dim, dtype=torch.float64)
    motion = SE(dim).exp(log_rigid(turns, shift))
    assert isinstance(motion, AffineMap) and motion.offset is not None
    torch.testing.assert_close(motion.linear, turns)
    torch.testing.assert_close(motion.offset, shift)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-5, 1e-9])
def test_the_logarithm_undoes_the_exponential(dim: int, size: float) -> None:
    t = size * (2 * Rng(0).uniform(50, SE(dim).count, dtype=torch.float64) - 1)
    motion = SE(dim).exp(t)
    assert isinstance(motion, AffineMap) and motion.offset is not None
    torch.testing.assert_close(log_rigid(motion.linear, motion.offset), t, atol=1e-13, rtol=1e-7)
