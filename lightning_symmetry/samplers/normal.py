"""Normal coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Group
from lightning_symmetry.samplers.base import CoordinateSampler


@final
class Normal(CoordinateSampler):
    """Every coordinate normal around 0, independently.

    Args:
        group: Whose elements are drawn.
        width: Standard deviation: one number, or one a generator; radians for rotations.
        learnable: Whether the widths are trained.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> Normal(SO(3), width=0.5).widths.tolist()
        [0.5, 0.5, 0.5]
    """

    learns_usually = True

    def __init__(
        self, group: Group | None = None, width: float | Sequence[float] = 1.0, learnable: bool = True
    ) -> None:
        super().__init__(group, width, learnable)

    def _draw(self, x: Tensor, n: int, count: int, rng: Rng, dtype: torch.dtype) -> Tensor:
        return rng.normal(x.shape[0], n, count, device=x.device, dtype=dtype)
