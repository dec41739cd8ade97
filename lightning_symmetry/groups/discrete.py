"""Finite groups of the plane."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.groups.element import AffineMap
from lightning_symmetry.groups.known import KnownGroup


class FinitePlaneGroup(KnownGroup, ABC):
    """A finite group of rotations, perhaps with mirrors; it has no generators.

    Args:
        order: Number of rotations.

    Raises:
        InvalidSetting: The order is not a positive whole number.
    """

    structure = "skew"

    def __init__(self, order: int) -> None:
        if not isinstance(order, int) or order < 1:
            raise InvalidSetting(
                f"order {order!r}", "a positive whole number", f"For example {type(self).__name__}(4)."
            )
        self.order = order
        super().__init__(2)

    def generators(self, dim: int) -> Tensor:
        """Write no generators down, (0, 2, 2)."""
        if dim != 2:
            raise DimensionMismatch(f"{self.sentence} in {dim} dimensions", "the plane", "Use O or SO in space.")
        return torch.zeros(0, 2, 2)

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        return f"{type(self).__name__[0]}{self.order}"

    @property
    @abstractmethod
    def discrete(self) -> AffineMap:
        """All elements, the identity first."""

    def _turns(self) -> Tensor:
        like = self.basis()
        angle = torch.arange(self.order, dtype=torch.float64) * (2 * torch.pi / self.order)
        entries = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), -1)
        # Quarter turns must permute pixels exactly.
        entries = torch.where((entries - entries.round()).abs() < 1e-12, entries.round(), entries)
        return entries.reshape(-1, 2, 2).to(like)


@final
class Cyclic(FinitePlaneGroup):
    """The rotations of the plane by multiples of 2 pi / order.

    Example:
        >>> Cyclic(4).discrete.linear[1].tolist()
        [[0.0, -1.0], [1.0, 0.0]]
    """

    @property
    def discrete(self) -> AffineMap:
        """All rotations, by growing angle."""
        return AffineMap(self._turns())


@final
class Dihedral(FinitePlaneGroup):
    """The symmetries of a regular polygon: the rotations of Cyclic, and each after the mirror x -> -x.

    Example:
        >>> len(Dihedral(4).discrete)
        8
    """

    @property
    def discrete(self) -> AffineMap:
        """All rotations by growing angle, then the same after the mirror."""
        turns = self._turns()
        return AffineMap(torch.cat((turns, turns * turns.new_tensor((-1.0, 1.0)))))
