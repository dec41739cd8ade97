"""Uniform coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Group
from lightning_symmetry.samplers.base import CoordinateSampler


@final
class Uniform(CoordinateSampler):
    """Every coordinate uniform in [-width, width], independently.

    Args:
        group: Whose elements are drawn.
        width: Largest coordinate: one number, or one a generator; radians for rotations.
        learnable: Whether the widths are trained.

    Reference:
        Benton et al., Learning Invariances in Neural Networks from Training Data, 2020.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> g, weights = Uniform(SO(2), width=torch.pi).sample(torch.zeros(3, 1), 2, Rng(0))
        >>> len(g), weights.tolist()[0]
        (6, [0.5, 0.5])
    """

    def __init__(
        self, group: Group | None = None, width: float | Sequence[float] = 1.0, learnable: bool = False
    ) -> None:
        super().__init__(group, width, learnable)

    def _draw(self, x: Tensor, n: int, count: int, rng: Rng, dtype: torch.dtype) -> Tensor:
        return 2 * rng.uniform(x.shape[0], n, count, device=x.device, dtype=dtype) - 1
