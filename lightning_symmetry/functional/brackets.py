"""Brackets of generators, and the constants of the Lie algebra that they span."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def commutators(a: Tensor) -> Tensor:
    """Give the brackets of matrices, ``[A_i, A_j] = A_i A_j - A_j A_i``.

    Args:
        a: (r, n, n).

    Returns:
        (r, r, n, n). The vector fields ``A x`` have the opposite brackets.

    Example:
        >>> raising, lowering = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> commutators(torch.stack([raising, lowering]))[0, 1]
        tensor([[ 1.,  0.],
                [ 0., -1.]])
    """
    products = a.unsqueeze(1) @ a.unsqueeze(0)
    return products - products.transpose(0, 1)


def bracket_fields(
    fields: Tensor, monomials: tuple[tuple[int, ...], ...], products: tuple[tuple[int, ...], ...]
) -> Tensor:
    """Give the brackets of polynomial fields, ``[X, Y] = (DY) X - (DX) Y``, exactly on their coefficients.

    Args:
        fields: (r, d, M) coefficients.
        monomials: The M monomials, each by its factors in ascending order.
        products: The M' monomials of the result: all up to twice the degree, less one.

    Returns:
        (r, r, d, M').

    Example:
        >>> shift, bend = [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
        >>> bracket_fields(torch.tensor([[shift], [bend]]), ((0,), (), (0, 0)), ((0,), (), (0, 0), (0, 0, 0)))[0, 1]
        tensor([[2., 0., 0., 0.]])
    """
    places = {factors: place for place, factors in enumerate(products)}
    terms = []
    for axis in range(fields.shape[1]):
        for column, factors in enumerate(monomials):
            if axis in factors:
                rest = list(factors)
                rest.remove(axis)
                for other, more in enumerate(monomials):
                    terms.append((axis, other, column, places[tuple(sorted([*rest, *more]))], factors.count(axis)))
    axes, others, columns, targets, powers = (torch.tensor(one) for one in zip(*terms, strict=True))
    flows = fields[:, axes, others][:, None, None] * (fields[:, :, columns] * powers)[None]
    derivatives = fields.new_zeros(*flows.shape[:3], len(products)).index_add(3, targets, flows)
    return derivatives - derivatives.transpose(0, 1)


def structure_constants(span: Tensor, brackets: Tensor) -> tuple[Tensor, Tensor]:
    """Write brackets in the basis that they are of, and give what lies outside of its span.

    ``c_ijk = <E_k, [E_i, E_j]>`` for an orthonormal basis E.

    Args:
        span: (r, ...), orthonormal.
        brackets: (r, r, ...), shaped alike.

    Returns:
        The constants c (r, r, r) and the rest of the brackets (r, r, ...).

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> basis = SO(3).basis() / 2**0.5
        >>> c, outside = structure_constants(basis, commutators(basis))
        >>> round(float(c.abs().max()), 4), float(outside.abs().max()) < 1e-6
        (0.7071, True)
    """
    rows = span.flatten(1)
    c = brackets.flatten(2) @ rows.mT
    return c, brackets - (c @ rows).reshape(brackets.shape)


def jacobi_residual(c: Tensor) -> float:
    """Measure how far constants are from those of a Lie algebra.

    The norm of ``[[x, y], z] + [[y, z], x] + [[z, x], y]`` over basis elements, relative to sqrt(3) times the norm of
    its terms.

    Args:
        c: (r, r, r).

    Returns:
        0 for a Lie algebra, about 1 for random constants; 0 where everything commutes.
    """
    double = torch.einsum("ijl,lkm->ijkm", c, c)
    cyclic = double + double.permute(1, 2, 0, 3) + double.permute(2, 0, 1, 3)
    size = float(double.norm())
    return float(cyclic.norm()) / (math.sqrt(3) * size) if size > 1e-12 else 0.0
