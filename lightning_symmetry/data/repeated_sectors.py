"""A target that repeats itself sector by sector: a finite group of rotations, and no continuous one."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Given
from lightning_symmetry.samplers import Integers
from lightning_symmetry.symmetry import Symmetry


@final
class RepeatedSectors(KnownFunction):
    r"""Vectors of space and a number that depends on the place within a sector of the plane (x, y).

    .. math:: \text{target} = z / (1 + \operatorname{atan2}(y, x) \bmod 2 \pi / n)

    Input (B, 3) is standard normal, target (B, 1). Turning the plane by whole multiples of :math:`2 \pi / n` leaves the
    target alone, any other angle does not.

    Args:
        order: Number n of sectors.
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64, for exact checks.

    Raises:
        InvalidSetting: There is nothing to train on, or a single sector.

    References:
        The discrete rotations of LieGAN, arXiv 2302.00236.

    Example:
        >>> RepeatedSectors().target(torch.tensor([[1.0, 0.0, 2.0]])).item()
        2.0
    """

    def __init__(
        self, order: int = 7, samples: int = 20000, batch_size: int = 64, seed: int = 0, double: bool = False
    ) -> None:
        super().__init__(samples, batch_size, seed, double)
        if order < 2:
            raise InvalidSetting(f"order={order}", "at least two sectors", "The default is 7.")
        self.order = order

    @property
    def angle(self) -> float:
        """Width of a sector, in radians."""
        return 2 * math.pi / self.order

    def truth(self) -> Symmetry:
        """Give the whole multiples of a turn by one sector."""
        turn = torch.zeros(1, 3, 3)
        turn[0, 0, 1], turn[0, 1, 0] = -self.angle, self.angle
        return Symmetry(Integers(Given(turn), largest=self.order), "vector", "scalar", name="turns")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the target: (B, 3) -> (B, 1)."""
        place = torch.atan2(x[:, 1], x[:, 0]).remainder(self.angle)
        return (x[:, 2] / (1 + place)).unsqueeze(1)

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw standard normal vectors."""
        return rng.normal(rows, 3, dtype=torch.float64)
