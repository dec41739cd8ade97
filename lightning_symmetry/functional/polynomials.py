"""Monomials of points: the affine ones first, damped far from the origin so that flows exist for all times."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement
from math import comb

import torch
from torch import Tensor

from lightning_symmetry.functional.precision import widen


@cache
def list_monomials(dim: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """List monomials by their factors: the coordinates, then 1, then the products of two, three, ... coordinates.

    The first d + 1 columns of a field's coefficients are therefore the rows of a homogeneous matrix.

    Args:
        dim: Number d of coordinates.
        degree: Largest number of factors, at least 1.

    Returns:
        M tuples of coordinates.

    Example:
        >>> list_monomials(2, 2)
        ((0,), (1,), (), (0, 0), (0, 1), (1, 1))
    """
    names: list[tuple[int, ...]] = [*((i,) for i in range(dim)), ()]
    for order in range(2, degree + 1):
        # sorted by the last factor: those that the next coordinate multiplies are then a prefix
        names += sorted(combinations_with_replacement(range(dim), order), key=lambda name: name[::-1])
    return tuple(names)


def degree_of(dim: int, count: int) -> int:
    """Find the degree from the number of monomials.

    Args:
        dim: Number d of coordinates.
        count: Number M of monomials up to the degree.

    Returns:
        The degree; 0 where there is none.

    Example:
        >>> degree_of(2, 6), degree_of(2, 5)
        (2, 0)
    """
    degree = 1
    while comb(dim + degree, degree) < count:
        degree += 1
    return degree if comb(dim + degree, degree) == count else 0


def evaluate_monomials(p: Tensor, degree: int, radius: float | None = None) -> Tensor:
    """Evaluate all monomials up to a degree, in the order of `list_monomials`.

    Beyond ``radius`` those of degree e > 1 are damped by s^(e - 1) with s = (1 + u^4)^(-1/8), u = |p|^2 / radius^2 - 1,
    which tends to radius / |p|: they grow linearly only, and no combination leads to infinity in finite time.

    Args:
        p: (..., d).
        degree: At least 1.
        radius: In the units of the points; None damps nothing.

    Returns:
        (..., M), at least float32.

    Example:
        >>> evaluate_monomials(torch.tensor([2.0, 3.0]), 2)
        tensor([2., 3., 1., 4., 6., 9.])
    """
    p = widen(p)
    blocks = [p, torch.ones_like(p[..., :1])]
    if degree == 1:
        return torch.cat(blocks, -1)
    q = p
    if radius is not None:
        beyond = (p.square().sum(-1, keepdim=True) / radius**2 - 1).clamp_min(0)
        # Three times differentiable at the radius, or integrators would stumble there.
        q = p * (1 + beyond.square().square()).pow(-1 / 8)
    dim, last = p.shape[-1], p
    for order in range(2, degree + 1):
        last = torch.cat([q[..., i : i + 1] * last[..., : comb(i + order - 1, order - 1)] for i in range(dim)], -1)
        blocks.append(last)
    return torch.cat(blocks, -1)


def multiples_of(fields: Tensor, degree: int) -> Tensor:
    """Multiply polynomial vector fields by every monomial that keeps them within a degree, 1 left out.

    Args:
        fields: (K, d, M) coefficients.
        degree: Largest degree of the products, at most that of M.

    Returns:
        (N, d, M).

    Example:
        >>> multiples_of(torch.tensor([[[0.0, 1.0, 0.0]]]), 2).tolist()  # d/dx, of monomials x, 1, x^2
        [[[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]]
    """
    count, dim, size = fields.shape
    monomials = list_monomials(dim, degree_of(dim, size))
    place = {factors: index for index, factors in enumerate(monomials)}
    products = []
    for field in fields:
        used = (field.abs() > 1e-9 * field.abs().max()).any(0).tolist()
        own = max((len(m) for m, there in zip(monomials, used, strict=True) if there), default=0)
        for factor in monomials:
            if not 0 < len(factor) <= degree - own:
                continue
            product = torch.zeros_like(field)
            for index, factors in enumerate(monomials):
                if used[index]:
                    product[:, place[tuple(sorted(factors + factor))]] += field[:, index]
            products.append(product)
    return torch.stack(products) if products else fields.new_zeros(0, dim, size)


def write_monomial(factors: Sequence[int], axes: Sequence[str]) -> str:
    """Write a monomial.

    Args:
        factors: Coordinates, from `list_monomials`.
        axes: Names of the coordinates.

    Returns:
        Text; empty for 1.

    Example:
        >>> write_monomial((0, 1, 1), "xy")
        'x y^2'
    """
    powers = {i: list(factors).count(i) for i in sorted(set(factors))}
    return " ".join(axes[i] if power == 1 else f"{axes[i]}^{power}" for i, power in powers.items())
