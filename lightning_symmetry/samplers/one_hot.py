"""One generator at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Group
from lightning_symmetry.samplers.base import CoordinateSampler


@final
class OneHot(CoordinateSampler):
    """One active generator a draw, chosen uniformly, with a coordinate uniform in [-width, width].

    Penalties then belong to one generator each, which gives statistics a generator for free.

    Args:
        group: Whose elements are drawn.
        width: Largest coordinate: one number, or one a generator; radians for rotations.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> g, _ = OneHot(SO(3)).sample(torch.zeros(4, 1), 1, Rng(0))
        >>> (g.coordinates != 0).sum(1).tolist()
        [1, 1, 1, 1]
    """

    def __init__(self, group: Group | None = None, width: float | Sequence[float] = 1.0) -> None:
        super().__init__(group, width)

    def _draw(self, x: Tensor, n: int, count: int, rng: Rng, dtype: torch.dtype) -> Tensor:
        active = rng.integers(max(count, 1), x.shape[0], n, device=x.device)
        size = 2 * rng.uniform(x.shape[0], n, device=x.device, dtype=dtype) - 1
        choices = torch.arange(count, device=x.device)
        return size.unsqueeze(-1) * (active.unsqueeze(-1) == choices)
