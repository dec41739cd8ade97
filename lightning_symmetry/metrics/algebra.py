"""How close found generators are to true ones, and whether they are a Lie algebra at all."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.spans import (
    cosine_to_span,
    lie_closure_residual,
    orthonormal_span,
    principal_cosines,
)
from lightning_symmetry.groups import Group, by_name
from lightning_symmetry.metrics.base import SymmetryMetric


@final
class GeneratorAlignment(SymmetryMetric):
    """Cosines between found generators and the span of the true ones, and the other way round.

    Keys: "cosine", the mean over true generators of ``|P_found t| / |t|``, tells how much of the truth was found;
    "precision", the mean over found generators of ``|P_true a| / |a|``, how much of what was found is true. Both are 1
    at best. Every update counts as one, for standard errors over seeds.

    Args:
        truth: A group, its name, or generators (M, n, n).
        folds: Of the standard errors.

    Example:
        >>> metric = GeneratorAlignment("SO(2)")
        >>> metric.update(torch.tensor([[[0.0, -3.0], [3.0, 0.0]]]))
        >>> round(float(metric.compute()["cosine"]), 6)
        1.0
    """

    higher_is_better = True

    def __init__(self, truth: Any, folds: int = 16) -> None:
        super().__init__(folds)
        self.truth = truth

    def update(self, found: Group | Tensor) -> None:
        """Compare generators with the truth.

        Args:
            found: A group bound to its dimension, or generators (K, n, n); homogeneous ones for affine maps.
        """
        a, true = _read(found, self.truth)
        values = {"cosine": cosine_to_span(true, a).mean(), "precision": cosine_to_span(a, true).mean()}
        _count(self, values)


@final
class GrassmannDistance(SymmetryMetric):
    """Geodesic distance between the span of found generators and that of the true ones.

    ``d^2 = sum_i theta_i^2 + |r - s| (pi/2)^2`` over the principal angles, r and s being the dimensions; the key is
    "distance", in radians. Every update counts as one, for standard errors over seeds.

    Args:
        truth: A group, its name, or generators (M, n, n).
        folds: Of the standard errors.

    References:
        Ye and Lim, Schubert varieties and distances between subspaces of different dimensions, 2016.

    Example:
        >>> metric = GrassmannDistance("SO(2)")
        >>> metric.update(torch.eye(2)[None])
        >>> round(float(metric.compute()["distance"]), 4)
        1.5708
    """

    def __init__(self, truth: Any, folds: int = 16) -> None:
        super().__init__(folds)
        self.truth = truth

    def update(self, found: Group | Tensor) -> None:
        """Compare generators with the truth.

        Args:
            found: A group bound to its dimension, or generators (K, n, n); homogeneous ones for affine maps.
        """
        a, b = (orthonormal_span(t) for t in _read(found, self.truth))
        missing = abs(len(a) - len(b)) * (pi / 2) ** 2
        # small angles are read from their sines, which rounding leaves alone
        cosines = principal_cosines(a, b)
        few, many = (a, b) if len(a) <= len(b) else (b, a)
        rest = few.flatten(1) - few.flatten(1) @ many.flatten(1).mT @ many.flatten(1)
        sines = torch.linalg.svdvals(rest).flip(0)[: len(cosines)] if len(few) else cosines
        angles = torch.atan2(sines, cosines)
        _count(self, {"distance": (angles.square().sum() + missing).sqrt()})


@final
class ClosureResidual(SymmetryMetric):
    """Share of the brackets of found generators that their span lacks: 0 for a Lie algebra.

    See `lie_closure_residual`; the key is "residual". Every update counts as one, for standard errors over seeds.

    Args:
        folds: Of the standard errors.

    Example:
        >>> metric = ClosureResidual()
        >>> metric.update(by_name("SO(3)"))
        >>> bool(metric.compute()["residual"] < 1e-6)
        True
    """

    def __init__(self, folds: int = 16) -> None:
        super().__init__(folds)

    def update(self, found: Group | Tensor) -> None:
        """Measure generators.

        Args:
            found: A linear group bound to its dimension, or generators (K, n, n); homogeneous ones for affine maps.
        """
        basis = found.basis() if isinstance(found, Group) else found
        residual = torch.tensor(lie_closure_residual(basis), dtype=torch.float64)
        _count(self, {"residual": residual})


def _count(metric: SymmetryMetric, values: Mapping[str, Tensor]) -> None:
    """Add one comparison, each to the next fold."""
    number, rank, world = metric.next_batch()
    metric.accumulate({name: value.reshape(1) for name, value in values.items()}, torch.tensor([number * world + rank]))


def _read(found: Group | Tensor, truth: Any) -> tuple[Tensor, Tensor]:
    """Take generators of both, made homogeneous where either translates."""
    if isinstance(truth, str):
        truth = by_name(truth)
    if isinstance(truth, Group) and truth.dim is None:
        truth.bind(found.dim if isinstance(found, Group) else found.shape[-1] - truth.affine)
    a, b = (g.coefficients().detach() if isinstance(g, Group) else g.detach() for g in (found, truth))
    a, b = (t.to("cpu", torch.float64) for t in (a, b))
    if a.ndim == b.ndim == 3 and a.shape[1:] != b.shape[1:] and abs(a.shape[-1] - b.shape[-1]) == 1:
        size = max(a.shape[-1], b.shape[-1])
        a, b = (F.pad(t, (0, size - t.shape[-1], 0, size - t.shape[-1])) for t in (a, b))
    if a.shape[1:] != b.shape[1:]:
        raise DimensionMismatch(
            f"generators of shape {tuple(a.shape[1:])}",
            f"{tuple(b.shape[1:])}, as the truth's",
            "Compare generators of one space and of one kind.",
        )
    return a, b
