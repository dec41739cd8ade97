"""The generalised eigenproblem of symmetry extraction, with intervals from folds of the data.

Both matrices are sums over samples, kept fold by fold. Everything runs in double precision on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

# Two-sided and one-sided 95 % quantiles of Student's law, by degrees of freedom; the last holds beyond.
_TWO_SIDED = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_ONE_SIDED = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753)
_LARGE = (1.960, 1.645)
FEWEST_FOLDS = 4


@final
@dataclass(frozen=True, eq=False)
class Whitened:
    """The part of a space on which a metric is positive.

    Args:
        basis: (P, r), columns of unit length in the metric; directions that it cannot see are left out.
        lost: (P, P - r), orthonormal columns of what it cannot see, in units of ``scale``.
        scale: (P,) length of each coordinate in the metric; 0 for one that it cannot see at all.
    """

    basis: Tensor
    lost: Tensor
    scale: Tensor


def whiten(metric: Tensor, tolerance: float = 1e-10) -> Whitened:
    """Find coordinates in which a metric is the identity.

    Coordinates are scaled to unit length first, so that the tolerance speaks of collinearity, not of units.

    Args:
        metric: (P, P) symmetric, positive semi-definite.
        tolerance: Share of the largest eigenvalue below which a direction counts as unseen.

    Returns:
        The basis of what it sees.

    Example:
        >>> whiten(torch.diag(torch.tensor([4.0, 0.0]).double())).basis.abs()
        tensor([[0.5000],
                [0.0000]], dtype=torch.float64)
    """
    lengths = metric.diagonal().clamp_min(0).sqrt()
    seen = lengths > math.sqrt(torch.finfo(torch.float64).tiny)
    inverse = torch.where(seen, 1 / lengths.clamp_min(1e-150), 0.0)
    values, vectors = torch.linalg.eigh(inverse[:, None] * metric * inverse)
    kept = values > tolerance * max(float(values[-1]), 0.0) if len(values) else values > 0
    kept &= (vectors * seen[:, None]).norm(dim=0) > 0.5
    basis = inverse[:, None] * (vectors[:, kept] / values[kept].sqrt())
    return Whitened(basis, vectors[:, ~kept], torch.where(seen, lengths, 0.0))


@final
@dataclass(frozen=True, eq=False)
class Pencil:
    """Solutions of ``G v = lambda D v``, ascending.

    Args:
        vectors: (P, r), ``v^T D v = 1``.
        defects: (r,) square roots of the eigenvalues.
        errors: (r,) their standard errors, by leaving out one fold after the other.
        folds: Number of folds with data.
    """

    vectors: Tensor
    defects: Tensor
    errors: Tensor
    folds: int

    def select(self, order: list[int]) -> Pencil:
        """Take some of the solutions, in a given order."""
        return Pencil(self.vectors[:, order], self.defects[order], self.errors[order], self.folds)

    @property
    def low(self) -> Tensor:
        """Lower ends of the 95 % intervals, (r,)."""
        return (self.defects - student(self.folds)[0] * self.errors).clamp_min(0)

    @property
    def high(self) -> Tensor:
        """Upper ends of the 95 % intervals, (r,)."""
        return self.defects + student(self.folds)[0] * self.errors

    @property
    def upper(self) -> Tensor:
        """One-sided upper 95 % bounds, (r,)."""
        return self.defects + student(self.folds)[1] * self.errors


def student(folds: int) -> tuple[float, float]:
    """Give the two-sided and the one-sided 95 % quantile of Student's law for a jackknife over folds.

    Example:
        >>> student(16)
        (2.131, 1.753)
    """
    index = max(folds, 2) - 2
    if index < len(_TWO_SIDED):
        return _TWO_SIDED[index], _ONE_SIDED[index]
    # the first term of Cornish and Fisher
    two, one = (z + (z**3 + z) / (4 * (folds - 1)) for z in _LARGE)
    return two, one


def solve_pencil(gram: Tensor, metric: Tensor, basis: Tensor) -> Pencil:
    """Solve the eigenproblem within a subspace, with jackknife errors.

    ``lambda_i^(-k) = v_i^T G^(-k) v_i / v_i^T D^(-k) v_i`` with the vectors of all data held fixed: the first-order
    change of an eigenvalue, which does not depend on how vectors of a degenerate block are matched. The error of its
    root is ``se^2 = (F - 1) / F sum_k (rho^(-k) - mean)^2`` over the F folds with data.

    Args:
        gram: (F, P, P), sums of ``M^T M`` fold by fold.
        metric: (F, P, P), sums of the normaliser.
        basis: (P, r), columns that span the subspace, of full rank in the metric.

    Returns:
        The solutions, ascending.

    Reference:
        Moskalev et al., LieGG: Studying Learned Lie Group Generators, 2022, for the ungeneralised problem.

    Example:
        >>> G = torch.diag(torch.tensor([0.0, 4.0]).double()).expand(4, 2, 2)
        >>> solve_pencil(G, torch.eye(2).double().expand(4, 2, 2), torch.eye(2).double()).defects
        tensor([0., 2.], dtype=torch.float64)
    """
    whole, weight = gram.sum(0), metric.sum(0)
    within = whiten(basis.mT @ weight @ basis, 1e-13).basis
    basis = basis @ within
    values, turned = torch.linalg.eigh(basis.mT @ whole @ basis)
    vectors = basis @ turned
    defects = values.clamp_min(0).sqrt()
    return Pencil(vectors, defects, _jackknife(gram, metric, vectors), int(_filled(metric).sum()))


def _filled(metric: Tensor) -> Tensor:
    return metric.diagonal(dim1=1, dim2=2).abs().sum(1) > 0


def _jackknife(gram: Tensor, metric: Tensor, vectors: Tensor) -> Tensor:
    kept = _filled(metric)
    top, below = (torch.einsum("pi,fpq,qi->fi", vectors, part[kept], vectors) for part in (gram, metric))
    left = ((top.sum(0) - top) / (below.sum(0) - below).clamp_min(1e-300)).clamp_min(0).sqrt()
    folds = len(left)
    if folds < 2:
        return torch.full_like(vectors[0], math.inf)
    return ((folds - 1) / folds * (left - left.mean(0)).square().sum(0)).sqrt()


def worst_on_the_other_half(gram: Tensor, metric: Tensor, basis: Tensor, count: int) -> float:
    """Choose directions on half of the folds and measure the worst of them on the other half, and the reverse.

    What was chosen because it looked good on some data looks worse on others: this is the defect without that bias.

    Args:
        gram: (F, P, P).
        metric: (F, P, P).
        basis: (P, r).
        count: Number of directions to choose.

    Returns:
        The mean over both halves of the largest defect within the chosen span.
    """
    index = torch.nonzero(_filled(metric)).flatten()
    halves = index[0::2], index[1::2]
    if not count or any(len(half) == 0 for half in halves):
        return 0.0
    worst = []
    for chosen, other in (halves, halves[::-1]):
        found = solve_pencil(gram[chosen], metric[chosen], basis)
        if found.vectors.shape[1] < count:
            return math.inf
        worst.append(float(solve_pencil(gram[other], metric[other], found.vectors[:, :count]).defects[-1]))
    return sum(worst) / 2
