"""Rotations of space with a preferred axis: about it, and tilts of it."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.groups.element import AffineMap
from lightning_symmetry.groups.known import KnownGroup

Axis = str | Sequence[float]


class AxialGroup(KnownGroup, ABC):
    """A group of rotations of space that knows an axis, such as that of gravity or of a magnetic field.

    Args:
        axis: "x", "y", "z", or three numbers, of any length but zero.

    Raises:
        InvalidSetting: The axis is none of these.
    """

    structure = "skew"

    def __init__(self, axis: Axis = "z") -> None:
        self.axis = axis if isinstance(axis, str) else tuple(float(a) for a in axis)
        super().__init__(3)

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Check that the data lie in space."""
        if dim not in (None, 3):
            raise DimensionMismatch(
                f"{self.sentence} in {dim} dimensions", "space, (..., 3), which has axes", "Use SO(2) in the plane."
            )
        return super().bind(dim)

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        return f"{type(self).__name__.lower()}({self._words})"

    @property
    def _words(self) -> str:
        if isinstance(self.axis, str):
            return self.axis
        return f"[{', '.join(str(int(a)) if a.is_integer() else repr(a) for a in self.axis)}]"


@final
class About(AxialGroup):
    """Rotations about an axis; one generator, whose coordinate is the angle, right-handed.

    They are what gravity leaves of the rotations, if the axis is that of gravity: ``R a = a``.

    Args:
        axis: "x", "y", "z", or three numbers, of any length but zero.
        mirrors: Whether to mirror as well, in planes that contain the axis: O(2) in place of SO(2).

    Raises:
        InvalidSetting: The axis is none of these.

    Example:
        >>> turn = About("z").exp(torch.tensor([[torch.pi / 2]]))
        >>> turn(torch.tensor([[[1.0, 0.0, 5.0]]])).round().abs()
        tensor([[[0., 1., 5.]]])
    """

    def __init__(self, axis: Axis = "z", mirrors: bool = False) -> None:
        self.mirrors = mirrors
        super().__init__(axis)

    def generators(self, dim: int) -> Tensor:
        """Write the generator down, (1, 3, 3)."""
        return _turn(_frame(self.axis)[2:])

    @property
    def discrete(self) -> AffineMap | None:
        """With mirrors, the identity and the mirror of the first direction across the axis."""
        if not self.mirrors:
            return None
        across = _frame(self.axis)[0].to(self.basis())
        eye = torch.eye(3).to(across)
        return AffineMap(torch.stack((eye, eye - 2 * across[:, None] * across)))

    @property
    def _words(self) -> str:
        return f"{super()._words}, mirrors=True" if self.mirrors else super()._words


@final
class Tilts(AxialGroup):
    """Rotations about the axes across an axis: ``exp(t_1 A_1 + t_2 A_2)`` tilts by the angle |t|, right-handed.

    They are no group: what two tilts in turn make also turns about the axis, so that the group that they generate is
    SO(3). Beside `About` they ask whether the axis is preferred at all: without gravity both hold, with it only the
    rotations about it do.

    Args:
        axis: "x", "y", "z", or three numbers, of any length but zero.

    Raises:
        InvalidSetting: The axis is none of these.

    References:
        Han et al., Learning Physical Dynamics with Subequivariant Graph Neural Networks, 2022.

    Example:
        >>> tilt = Tilts("z").exp(torch.tensor([[torch.pi / 2, 0.0]]))
        >>> tilt(torch.tensor([[[1.0, 3.0, 0.0]]])).round().abs()
        tensor([[[1., 0., 3.]]])
    """

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (2, 3, 3): about z, the rotations about x and about y."""
        return _turn(_frame(self.axis)[:2])


def _frame(axis: Axis) -> Tensor:
    """Complete an axis to a right-handed frame, (3, 3), the axis last; of a named one the other two in their order."""
    if isinstance(axis, str) and axis in ("x", "y", "z"):
        place = "xyz".index(axis)
        return torch.eye(3)[[(place + 1) % 3, (place + 2) % 3, place]]
    numbers = [] if isinstance(axis, str) else [float(a) for a in axis]
    size = math.hypot(*numbers)
    if len(numbers) != 3 or not 0 < size < math.inf:
        raise InvalidSetting(f"the axis {axis!r}", '"x", "y", "z" or three numbers', 'For example "z" or [0, 0, 1].')
    last = torch.tensor(numbers, dtype=torch.float64) / size
    # the coordinate axis that is farthest from it keeps the frame well defined
    first = torch.linalg.cross(torch.eye(3, dtype=torch.float64)[int(last.abs().argmin())], last)
    first = first / first.norm()
    return torch.stack((first, torch.linalg.cross(last, first), last)).float()


def _turn(axes: Tensor) -> Tensor:
    """Write the generators of right-handed rotations about unit axes, (K, 3) -> (K, 3, 3)."""
    x, y, z = axes.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), 1).unflatten(1, (3, 3))


__all__ = ["About", "Tilts"]
