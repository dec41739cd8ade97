"""Ranks of noisy matrices: singular values above the size of the noise, and the subspaces that belong to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Singular values below this fraction of the largest are rounding.
ROUNDING = 1e-8
# The widest gap is looked for between the size of the noise over and times this.
_DOUBT = 5.0
_TINY = 1e-12


def count_above(sizes: Tensor, cut: float) -> int:
    """Count the sizes that are no noise: all above the widest gap near the cut.

    Args:
        sizes: (m,), descending.
        cut: What noise alone reaches.

    Returns:
        A number between 0 and m.

    Example:
        >>> count_above(torch.tensor([1.0, 0.9, 0.12, 0.004]), 0.05), count_above(torch.tensor([0.01]), 0.05)
        (3, 0)
    """
    values = [max(float(size), 1e-300) for size in sizes]
    sure = sum(value > cut * _DOUBT for value in values)
    doubtful = [value for value in values[sure:] if value > cut / _DOUBT]
    if not doubtful:
        return sure
    # nothing beyond the doubtful range makes a gap wider: a single doubtful size is compared with the cut itself
    edges = [cut * _DOUBT, *doubtful, cut / _DOUBT]
    ratios = [first / second for first, second in zip(edges[:-1], edges[1:], strict=True)]
    return sure + max(range(len(ratios)), key=ratios.__getitem__)


def noise_norm(noise: float, rows: int, columns: int) -> float:
    """Give the spectral norm of a matrix of independent noise, ``noise (sqrt rows + sqrt columns)``."""
    return noise * (math.sqrt(rows) + math.sqrt(columns))


def span_of(rows: Tensor, cut: float = 0.0) -> Tensor:
    """Give an orthonormal basis of a row space, (m, r) to (k, r)."""
    if not len(rows):
        return rows
    _, sizes, found = torch.linalg.svd(rows, full_matrices=False)
    return found[: count_above(sizes, _floor(cut, sizes))]


def null_of(rows: Tensor, cut: float = 0.0) -> Tensor:
    """Give an orthonormal basis of what rows annihilate, (m, r) to (k, r)."""
    if not len(rows):
        return torch.eye(rows.shape[1], dtype=rows.dtype)
    if rows.shape[0] > rows.shape[1]:
        # the left singular vectors of a tall matrix would be as many as it has rows
        rows = torch.linalg.qr(rows).R
    _, sizes, found = torch.linalg.svd(rows, full_matrices=True)
    return found[count_above(sizes, _floor(cut, sizes)) :]


def inertia(form: Tensor, cut: float = 0.0) -> tuple[int, int, int]:
    """Count the positive, negative and vanishing eigenvalues of a symmetric form.

    Example:
        >>> inertia(torch.diag(torch.tensor([1.0, -1.0, -1.0, 0.0])))
        (1, 2, 1)
    """
    values = torch.linalg.eigvalsh(form)
    values = values[values.abs().argsort(descending=True)]
    kept = values[: count_above(values.abs(), _floor(cut, values.abs()))]
    positive = int((kept > 0).sum())
    return positive, len(kept) - positive, len(values) - len(kept)


def eigenvalues(matrix: Tensor) -> Tensor:
    """Give the eigenvalues of a square matrix whatever their multiplicities.

    The iteration behind `torch.linalg.eigvals` can stop early on exactly repeated ones: a change at the level of
    rounding separates them.

    Args:
        matrix: (n, n).

    Returns:
        (n,), complex.

    Example:
        >>> eigenvalues(torch.eye(2))
        tensor([1.+0.j, 1.+0.j])
    """
    try:
        return torch.linalg.eigvals(matrix)
    except torch.linalg.LinAlgError:
        shake = torch.randn(matrix.shape, dtype=matrix.dtype, generator=torch.Generator().manual_seed(0))
        return torch.linalg.eigvals(matrix + 8 * torch.finfo(matrix.dtype).eps * matrix.abs().max() * shake)


def _floor(cut: float, sizes: Tensor) -> float:
    return max(cut, ROUNDING * float(sizes[0]), _TINY)
