"""Functions on rotations that span the entries of all their representations up to a degree, as polynomials.

Polynomials in the entries of the rotation have right gradients everywhere, which angles and axes have not.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def circular_functions(rotation: Tensor, degree: int) -> Tensor:
    """Evaluate cosines and sines of the multiples of an angle.

    Args:
        rotation: (B, 2, 2), rotations of the plane by an angle t.
        degree: Highest multiple.

    Returns:
        (B, 2 degree + 1): 1, cos t, sin t, cos 2t, sin 2t, ...

    Example:
        >>> circular_functions(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]), 2)
        tensor([[ 1.,  0.,  1., -1.,  0.]])
    """
    cosine, sine = rotation[:, 0, 0], rotation[:, 1, 0]
    columns = [torch.ones_like(cosine)]
    c, s = torch.ones_like(cosine), torch.zeros_like(sine)
    for _ in range(degree):
        c, s = c * cosine - s * sine, s * cosine + c * sine
        columns += [c, s]
    return torch.stack(columns, -1)


def wigner_functions(rotation: Tensor, couplings: list[Tensor]) -> Tensor:
    """Evaluate the entries of one irreducible representation of rotations of space for every degree.

    ``D_l = C_l (D_(l-1) x R) C_l^T``, where C_l picks the part of degree l out of the tensor product.

    Args:
        rotation: (B, 3, 3).
        couplings: C_1, ..., C_L, as ``find_couplings(L)`` gives them.

    Returns:
        (B, 1 + 9 + ... + (2 L + 1)^2).

    Example:
        >>> wigner_functions(torch.eye(3)[None], [c.float() for c in find_couplings(1)]).shape
        torch.Size([1, 10])
    """
    rows = len(rotation)
    entries = rotation.new_ones(rows, 1, 1)
    columns = [entries.flatten(1)]
    for coupling in couplings:
        product = entries[:, :, None, :, None] * rotation[:, None, :, None, :]
        product = product.flatten(3, 4).flatten(1, 2)
        entries = coupling @ product @ coupling.mT
        columns.append(entries.flatten(1))
    return torch.cat(columns, -1)


def find_couplings(degree: int) -> list[Tensor]:
    """Compute the maps that pick degree l out of (degree l - 1) x (vectors), for l up to a degree.

    They are the eigenvectors of the Casimir operator for its largest eigenvalue, l (l + 1).

    Args:
        degree: L, at least 0.

    Returns:
        L matrices (2 l + 1, 3 (2 l - 1)) with orthonormal rows, float64.

    Example:
        >>> [tuple(c.shape) for c in find_couplings(2)]
        [(3, 3), (5, 9)]
    """
    return [_couple(level)[0] for level in range(1, degree + 1)]


@cache
def _couple(degree: int) -> tuple[Tensor, Tensor]:
    """Give C_l and the generators of degree l, (3, 2 l + 1, 2 l + 1)."""
    if degree == 0:
        return torch.ones(1, 1, dtype=torch.float64), torch.zeros(3, 1, 1, dtype=torch.float64)
    vector = torch.zeros(3, 3, 3, dtype=torch.float64)
    for k, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        vector[k, j, i], vector[k, i, j] = 1, -1
    below = _couple(degree - 1)[1]
    eye = torch.eye(below.shape[-1], dtype=torch.float64)
    total = torch.stack(
        [torch.kron(a, torch.eye(3, dtype=a.dtype)) + torch.kron(eye, b) for a, b in zip(below, vector, strict=True)]
    )
    coupling = torch.linalg.eigh(-(total @ total).sum(0)).eigenvectors[:, -(2 * degree + 1) :].mT.contiguous()
    return coupling, coupling @ total @ coupling.mT
