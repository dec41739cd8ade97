"""Distances between spans of generators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.ranks import span_of

# Below this cosine the angle itself is read off; above it the sine, whose rounding does not grow.
_HALF = math.sqrt(0.5)


@final
@dataclass(frozen=True)
class SubspaceDistance:
    """How far apart two spans are, all angles in radians.

    Args:
        angles: The min(r, s) principal angles, ascending.
        grassmann: ``sqrt(sum_i theta_i^2)``.
        chordal: ``sqrt(sum_i sin^2 theta_i)``.
        largest: The largest angle: how far the smaller span is from lying inside the larger.
        missing: How many dimensions the first span has less than the second; negative for more.

    Example:
        >>> SubspaceDistance((0.0,), 0.0, 0.0, 0.0, 2).contained
        True
    """

    angles: tuple[float, ...]
    grassmann: float
    chordal: float
    largest: float
    missing: int

    @property
    def contained(self) -> bool:
        """Whether the smaller span lies inside the larger, to a thousandth of a radian."""
        return self.largest < 1e-3

    def __str__(self) -> str:
        """Tell the distance in one line."""
        words = f"Grassmann distance {self.grassmann:.3g}, largest angle {math.degrees(self.largest):.3g} degrees"
        if self.missing:
            words += f", {abs(self.missing)} dimension{'s' * (abs(self.missing) > 1)} "
            words += "missing" if self.missing > 0 else "too many"
        return words


def subspace_distance(a: Tensor, b: Tensor, metric: Tensor | None = None) -> SubspaceDistance:
    """Measure principal angles between the spans of two sets of generators.

    ``cos theta_i`` are the singular values of ``Q_a Q_b^T`` for orthonormal Q; small angles come from
    ``sin theta_i = || (1 - Q_a^T Q_a) Q_b v_i ||`` instead, since arccos loses half of the digits near 1.

    Args:
        a: (K, ..., m) generators.
        b: (M, ..., m) generators of the same shape.
        metric: (m, m) second moments ``E[x x^T]`` of what generators multiply (points, homogeneous points, or the
            monomials of points): products become ``<A, B> = E <A x, B x>``, and what the data never show does not
            count. None compares numbers.

    Returns:
        The distance. Spans of different dimensions are compared by the smaller one's angles, and ``missing``.

    Raises:
        DimensionMismatch: The generators or the metric do not fit together.

    References:
        Björck and Golub, Numerical methods for computing angles between linear subspaces, 1973.

    Example:
        >>> turn, scale = torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.eye(2)
        >>> found = subspace_distance((turn + 1e-6 * scale)[None], turn[None])
        >>> round(found.grassmann * 1e6, 4), found.missing
        (1.0, 0)
        >>> print(subspace_distance(turn[None], torch.stack([turn, scale])))
        Grassmann distance 0, largest angle 0 degrees, 1 dimension missing
    """
    shape = a.shape[1:]
    if b.shape[1:] != shape or (metric is not None and tuple(metric.shape) != (shape[-1], shape[-1])):
        raise DimensionMismatch(
            f"generators {tuple(shape)} and {tuple(b.shape[1:])}"
            + ("" if metric is None else f", metric {tuple(metric.shape)}"),
            "generators of one shape (..., m) and a metric (m, m)",
            "Write both spans for the same space.",
        )
    left, right = (_orthonormalise(t, metric) for t in (a, b))
    cosines = left @ right.mT
    if not cosines.numel():
        return SubspaceDistance((), 0.0, 0.0, 0.0, len(right) - len(left))
    small, large = (left, right) if len(left) <= len(right) else (right, left)
    sines = torch.linalg.svdvals(small - small @ large.mT @ large)[: len(small)].flip(0).clamp_max(1.0)
    straight = torch.linalg.svdvals(cosines).clamp_max(1.0)
    angles = torch.where(straight > _HALF, sines.asin(), straight.acos())
    # exact zeros for rounding
    angles = torch.where(angles < 1e-14, 0.0, angles)
    return SubspaceDistance(
        angles=tuple(angles.tolist()),
        grassmann=float(angles.norm()),
        chordal=float(angles.sin().norm()),
        largest=float(angles.max()),
        missing=len(right) - len(left),
    )


def _orthonormalise(a: Tensor, metric: Tensor | None) -> Tensor:
    a = a.detach().to("cpu", torch.float64)
    if metric is not None:
        values, vectors = torch.linalg.eigh(metric.detach().to("cpu", torch.float64))
        a = a @ (vectors * values.clamp_min(0).sqrt())
    rows = a.flatten(1)
    # what the metric makes vanish is no direction
    sizes = rows.norm(dim=1, keepdim=True)
    return span_of(rows / sizes.clamp_min(1e-12 * float(sizes.max() if len(sizes) else 0) + 1e-300), 1e-6)
