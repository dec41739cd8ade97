"""Whole coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Group
from lightning_symmetry.samplers.base import CoordinateSampler


@final
class Integers(CoordinateSampler):
    """Every coordinate a whole multiple of the width, from -largest to largest, independently.

    With one generator the elements are powers of ``exp(width L)``: a discrete group, whatever its order.

    Args:
        group: Whose elements are drawn.
        width: Spacing of the coordinates: one number, or one a generator; radians for rotations.
        largest: Largest multiple.
        learnable: Whether the spacings are trained.

    Raises:
        InvalidSetting: The largest multiple is no whole number of at least 1.

    Reference:
        The integer grid of LieGAN, arXiv 2302.00236.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> g, _ = Integers(SO(2), width=0.5, largest=1).sample(torch.zeros(100, 1), 1, Rng(0))
        >>> sorted(set(g.coordinates.flatten().tolist()))
        [-0.5, 0.0, 0.5]
    """

    def __init__(
        self,
        group: Group | None = None,
        width: float | Sequence[float] = 1.0,
        largest: int = 10,
        learnable: bool = False,
    ) -> None:
        if not isinstance(largest, int) or largest < 1:
            raise InvalidSetting(f"largest={largest!r}", "a whole number, at least 1", "The default is 10.")
        self.largest = largest
        super().__init__(group, width, learnable)

    @property
    def learning(self) -> dict[str, Any]:
        """The settings beside the spacing."""
        return {"largest": self.largest, **super().learning}

    def _draw(self, x: Tensor, n: int, count: int, rng: Rng, dtype: torch.dtype) -> Tensor:
        drawn = rng.integers(2 * self.largest + 1, x.shape[0], n, count, device=x.device)
        return (drawn - self.largest).to(dtype)
