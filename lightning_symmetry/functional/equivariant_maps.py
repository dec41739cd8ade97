"""Linear maps between tensor powers that commute with a group, from its matrices alone."""

from __future__ import annotations

from functools import reduce
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch

EXACT, APPROXIMATE = 1e-6, 0.03
"""Relative singular values that count as zero, for generators that are known and for those that were estimated."""
LARGEST = 1024
"""Most unknowns of one map."""


def tensor_power(matrix: Tensor, rank: int) -> Tensor:
    """Give the Kronecker power of matrices, which moves all indices of a row-major tensor.

    Args:
        matrix: (..., d, d).
        rank: Number of indices.

    Returns:
        (..., d^rank, d^rank).
    """
    one = matrix.new_ones(*matrix.shape[:-2], 1, 1)
    return reduce(_kron, [matrix] * rank, one)


def tensor_derivative(matrix: Tensor, rank: int) -> Tensor:
    """Differentiate the Kronecker power at the identity: ``sum_i 1 x ... x A x ... x 1``.

    Args:
        matrix: (..., d, d) generators.
        rank: Number of indices.

    Returns:
        (..., d^rank, d^rank).
    """
    size, eye = matrix.shape[-1], torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    total = matrix.new_zeros(*matrix.shape[:-2], size**rank, size**rank)
    for place in range(rank):
        total = total + reduce(_kron, [matrix if i == place else eye for i in range(rank)])
    return total


@final
class EquivariantMaps:
    r"""Orthonormal bases of the linear maps from rank i to rank o that commute with a group.

    ``W`` with ``rho_o(g) W = W rho_i(g)`` is the null space of

        [ drho_o(A_k) x 1 - 1 x drho_i(A_k)^T ;  rho_o(h_j) x rho_i(h_j)^{-T} - 1 ]   on  vec_row(W),

    found by a singular value decomposition. The generators are scaled to spectral norm 1 first; singular values below
    ``tolerance`` times the largest are zero. Estimated generators need a larger tolerance than known ones: an error of
    1 % in a generator moves what should be zero to about 1 %. Bases are computed once and kept.

    Args:
        generators: (K, d, d) of the Lie algebra.
        elements: (M, d, d) that generate the finite part, or all of it.
        tolerance: See above; `EXACT` or `APPROXIMATE`.

    Example:
        >>> turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> maps = EquivariantMaps(turn, turn.new_zeros(0, 2, 2))
        >>> [maps.basis(*ranks).shape[1] for ranks in ((0, 0), (0, 1), (1, 1), (2, 2))]
        [1, 0, 2, 6]
    """

    def __init__(self, generators: Tensor, elements: Tensor, tolerance: float = EXACT) -> None:
        sizes = torch.linalg.matrix_norm(generators.double(), 2)
        self.generators = generators.double()[sizes > 0] / sizes[sizes > 0, None, None]
        self.elements, self.tolerance = elements.double(), tolerance
        self._bases: dict[tuple[int, int, bool], Tensor] = {}

    @property
    def dim(self) -> int:
        """Dimension d of the space."""
        return self.elements.shape[-1]

    def basis(self, rank_in: int, rank_out: int, odd: bool = False) -> Tensor:
        """Give the maps from one rank to another.

        Args:
            rank_in: Indices of what goes in.
            rank_out: Indices of what comes out.
            odd: Whether one of them, and only one, is a pseudo-tensor.

        Returns:
            (d^(rank_out + rank_in), r) orthonormal columns, float64: maps, written row by row.

        Raises:
            DimensionMismatch: There are too many unknowns.
        """
        key = rank_in, rank_out, odd
        if key not in self._bases:
            self._bases[key] = self._solve(*key)
        return self._bases[key]

    def complement(self, rank_in: int, rank_out: int, odd: bool = False) -> Tensor:
        """Give the projector ``1 - Q Q^T`` onto what no equivariant map has, (D, D)."""
        found = self.basis(rank_in, rank_out, odd)
        return torch.eye(len(found), dtype=found.dtype) - found @ found.mT

    def _solve(self, rank_in: int, rank_out: int, odd: bool) -> Tensor:
        size_in, size_out = self.dim**rank_in, self.dim**rank_out
        unknowns = size_in * size_out
        if unknowns > LARGEST:
            raise DimensionMismatch(
                f"maps from rank {rank_in} to rank {rank_out} in {self.dim} dimensions, of {unknowns} numbers each",
                f"at most {LARGEST}",
                "Use features of lower rank.",
            )
        eye_in, eye_out = (torch.eye(size, dtype=torch.float64) for size in (size_in, size_out))
        left, right = (tensor_derivative(self.generators, rank) for rank in (rank_out, rank_in))
        turns = _kron(left, eye_in) - _kron(eye_out, right.mT)
        moved = _kron(tensor_power(self.elements, rank_out), torch.linalg.inv(tensor_power(self.elements, rank_in)).mT)
        signs = torch.linalg.det(self.elements).sign() if odd else torch.ones(len(self.elements), dtype=torch.float64)
        flips = signs[:, None, None] * moved - torch.eye(unknowns, dtype=torch.float64)
        constraint = torch.cat((turns, flips)).reshape(-1, unknowns)
        if not len(constraint):
            return torch.eye(unknowns, dtype=torch.float64)
        # of a tall matrix the triangular factor says all
        constraint = torch.linalg.qr(constraint, mode="r").R if len(constraint) > unknowns else constraint
        _, sizes, directions = torch.linalg.svd(constraint)
        scale = max(float(sizes[0]), 1e-300)
        kept = torch.zeros(unknowns, dtype=torch.bool)
        kept[: len(sizes)] = sizes > self.tolerance * scale
        # constraints that are nothing but rounding constrain nothing
        return directions[~kept].mT if scale > self.tolerance else torch.eye(unknowns, dtype=torch.float64)


def _kron(a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices in the sense of Kronecker, over any leading axes."""
    blocks = a[..., :, None, :, None] * b[..., None, :, None, :]
    return blocks.reshape(*blocks.shape[:-4], a.shape[-2] * b.shape[-2], a.shape[-1] * b.shape[-1])
