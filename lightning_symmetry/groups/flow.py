"""Time-one flows of vector fields."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.precision import full_precision, working_dtype
from lightning_symmetry.groups.element import Element, Index

MOST_STEPS = 32
"""A field this many times as fast as the space is wide is integrated no finer: only its order of size is right then."""

_PARTS = (8, 6, 4, 2)
_SHARES = tuple(math.prod(n**2 / (n**2 - m**2) for m in _PARTS if m != n) for n in _PARTS)


class Velocity(ABC):
    """A batch of B vector fields that do not depend on time, one a row; a batch of one holds for every row.

    The derivative is bounded on all of space, or at least grows no faster than linearly with the distance: a flow
    exists for all times then.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension d of the space."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The type of its numbers."""

    @abstractmethod
    def rate(self) -> float:
        """Bound roughly how much neighbouring points can be driven apart in time one, on a logarithmic scale."""

    @abstractmethod
    def __len__(self) -> int:
        """Give the number of fields B."""

    @abstractmethod
    def __call__(self, p: Tensor) -> Tensor:
        """Give the velocity at points, (B, N, d) to (B, N, d)."""

    @abstractmethod
    def __neg__(self) -> Self:
        """Turn every field round."""

    @abstractmethod
    def __getitem__(self, index: Index) -> Self:
        """Select rows; a single number gives a batch of one."""


@final
@dataclass(frozen=True, eq=False)
class Flow(Element):
    """Where vector fields carry points in time one: ``g(p) = q(1)`` with ``dq/dt = v(q)`` and ``q(0) = p``.

    Each field is integrated in equal steps of order eight: the midpoint rule with 2, 4, 6 and 8 parts, extrapolated to
    none. A composition follows one field after the other; an inverse follows the opposite fields. Laws hold up to the
    error of integration, about 1e-6 for fields that move a point by about its own distance.

    Args:
        fields: In the order in which they are followed.
        steps: For each.
        coordinates: (B, K), the algebra coordinates that made the flows, if any.

    Cost: 17 evaluations of the field a step, in 8 calls; in training all of them are kept for the gradient.

    Reference:
        Gragg, On extrapolation algorithms for ordinary initial value problems, 1965.
    """

    fields: tuple[Velocity, ...]
    steps: tuple[int, ...]
    coordinates: Tensor | None = None

    @classmethod
    def of(cls, field: Velocity, coordinates: Tensor | None = None) -> Flow:
        """Make the flows of one batch of fields, with as many steps as the fastest of them needs.

        Args:
            field: B vector fields.
            coordinates: (B, K), if any.

        Returns:
            B flows.
        """
        rate = field.rate()
        return cls((field,), (min(math.ceil(rate), MOST_STEPS) if 1 < rate < math.inf else 1,), coordinates)

    @property
    def dim(self) -> int:
        """Dimension d of the space that is moved."""
        return self.fields[0].dim

    def __len__(self) -> int:
        """Give the number of flows."""
        return max(map(len, self.fields))

    def __call__(self, p: Tensor) -> Tensor:
        """Move points (B, N, d)."""
        if p.shape[-1] != self.dim:
            raise DimensionMismatch(
                f"points of length {p.shape[-1]} for a flow of dimension {self.dim}",
                f"shape (B, N, {self.dim})",
                "Give the group or the action the dimension of the data.",
            )
        with full_precision(p.device):
            p = p.to(torch.promote_types(self.fields[0].dtype, working_dtype(p.dtype)))
            for field, steps in zip(self.fields, self.steps, strict=True):
                for _ in range(steps):
                    p = _advance(field, p, 1 / steps)
        return p

    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        """Carry vectors (B, N, d) along by the Jacobian at their points."""
        if at is None:
            raise DimensionMismatch(
                "vectors without the points that they are attached to",
                "at=(B, N, d): a flow that is not linear turns vectors differently at every point",
                "Declare positions as points, or use a linear group for free vectors.",
            )
        dtype = torch.promote_types(self.fields[0].dtype, working_dtype(at.dtype))
        at, v = torch.broadcast_tensors(at.to(dtype), v.to(dtype))
        pushed: Tensor = torch.func.jvp(self, (at,), (v,))[1]
        return pushed

    def __invert__(self) -> Flow:
        """Follow the opposite fields, the last first."""
        opposite = tuple(-field for field in reversed(self.fields))
        return Flow(opposite, self.steps[::-1], None if self.coordinates is None else -self.coordinates)

    def __matmul__(self, other: Element) -> Flow:
        """Compose: the right one moves first."""
        if not isinstance(other, Flow) or other.dim != self.dim:
            raise DimensionMismatch(
                f"{type(other).__name__} of dimension {other.dim}",
                f"a Flow of dimension {self.dim}",
                "Compose elements of one group only.",
            )
        return Flow(other.fields + self.fields, other.steps + self.steps)

    def __getitem__(self, index: Index) -> Flow:
        """Select rows; the steps stay as they are."""
        rows = len(self)
        fields = tuple(field if len(field) == 1 < rows else field[index] for field in self.fields)
        return Flow(fields, self.steps, None if self.coordinates is None else self.coordinates[_as_rows(index)])


def _as_rows(index: Index) -> slice | Tensor | list[int]:
    return [index] if isinstance(index, int) else index


def _advance(field: Velocity, p: Tensor, time: float) -> Tensor:
    """Take one step of order eight: all midpoint rules side by side, those that have arrived being cut off."""
    n, live = p.shape[1], len(_PARTS)
    step = p.new_tensor([time / parts for parts in _PARTS]).repeat_interleave(n).unsqueeze(1)
    before = p.repeat(1, live, 1)
    now = torch.addcmul(before, step, field(p).repeat(1, live, 1))
    end = torch.zeros_like(p)
    for done in range(2, _PARTS[0] + 1):
        before, now = now, torch.addcmul(before, step, field(now), value=2)
        if done == _PARTS[live - 1]:
            live -= 1
            end = end + _SHARES[live] * now[:, live * n :]
            before, now, step = before[:, : live * n], now[:, : live * n], step[: live * n]
    return end
