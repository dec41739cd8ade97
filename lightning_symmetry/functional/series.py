"""Truncated power series: the Taylor expansion of maps, and the arithmetic of its coefficients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import factorial, prod

import torch
from torch import Tensor

from lightning_symmetry.functional.polynomials import list_monomials


def factorials(dim: int, order: int) -> list[int]:
    """Give what divides each derivative in a Taylor series: the product of the factorials of its exponents.

    Args:
        dim: Number p of variables.
        order: Largest order of a derivative.

    Returns:
        M numbers, in the order of `list_monomials`.

    Example:
        >>> factorials(2, 2)
        [1, 1, 1, 2, 1, 2]
    """
    return [prod(factorial(name.count(i)) for i in set(name)) for name in list_monomials(dim, order)]


def expand(f: Callable[[Tensor], Tensor], like: Tensor, dim: int, order: int) -> Tensor:
    """Expand a map in its Taylor series at 0, exactly, by nested forward differentiation.

    All derivatives of the highest order are taken at once, side by side; those of lower orders are their intermediate
    results.

    Args:
        f: (B, N, p) to (B, N, ...), each of the N rows by itself.
        like: (B, ...), of which the number of rows, the type and the device are taken.
        dim: Number p of variables.
        order: Largest order of a derivative, at least 1.

    Returns:
        (B, M, ...): the derivatives divided by their factorials, in the order of `list_monomials`.

    Cost: 2^order evaluations of the map on as many rows as there are derivatives of that order.

    Example:
        >>> expand(lambda s: (s[..., 0] * s[..., 1]).exp(), torch.zeros(1, 1), 2, 2)
        tensor([[0., 0., 1., 0., 1., 0.]])
    """
    names = list_monomials(dim, order)
    highest = [name for name in names if len(name) == order]
    axes = torch.eye(dim, dtype=like.dtype, device=like.device)
    grown: Callable[[Tensor], tuple[Tensor, ...]] = lambda s: (f(s),)  # noqa: E731
    for depth in range(order):
        directions = axes[[name[depth] for name in highest]].expand(len(like), -1, -1)
        grown = _grow(grown, directions)
    values = grown(like.new_zeros(len(like), len(highest), dim))
    # sorted factors: what begins a derivative of the highest order is one of a lower order
    rows = [next(i for i, name in enumerate(highest) if name[: len(wanted)] == wanted) for wanted in names]
    derivatives = torch.stack([values[len(name)][:, row] for name, row in zip(names, rows, strict=True)], 1)
    scale = derivatives.new_tensor(factorials(dim, order))
    return derivatives / scale.reshape(-1, *[1] * (derivatives.ndim - 2))


def _grow(f: Callable[[Tensor], tuple[Tensor, ...]], direction: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    def longer(s: Tensor) -> tuple[Tensor, ...]:
        both = torch.func.jvp(f, (s,), (direction,))
        return (*both[0], both[1][-1])

    return longer


@cache
def _products(dim: int, order: int) -> tuple[list[int], list[int], list[int]]:
    """List the products that stay within the order: places of both factors and of the result."""
    names = list_monomials(dim, order)
    place = {name: i for i, name in enumerate(names)}
    found = [
        (i, j, place[tuple(sorted((*a, *b)))])
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if len(a) + len(b) <= order
    ]
    return [i for i, _, _ in found], [j for _, j, _ in found], [k for _, _, k in found]


def multiply_series(a: Tensor, b: Tensor, dim: int, order: int) -> Tensor:
    """Multiply power series, cut off beyond the order.

    Args:
        a: (..., M) coefficients, in the order of `list_monomials`.
        b: (..., M), broadcast against ``a``.
        dim: Number p of variables.
        order: Of both series.

    Returns:
        (..., M).

    Example:
        >>> one_plus_s = torch.tensor([1.0, 1.0, 0.0])
        >>> multiply_series(one_plus_s, one_plus_s, 1, 2)
        tensor([2., 1., 1.])
    """
    left, right, place = (torch.tensor(column, device=a.device) for column in _products(dim, order))
    terms = a[..., left] * b[..., right]
    return terms.new_zeros(*terms.shape[:-1], a.shape[-1]).index_add(-1, place, terms)


def differentiate_series(a: Tensor, axis: int, dim: int, order: int) -> Tensor:
    """Differentiate power series by one variable; the highest order of the result is lost, and set to zero.

    Args:
        a: (..., M) coefficients, in the order of `list_monomials`.
        axis: Of the variable.
        dim: Number p of variables.
        order: Of the series.

    Returns:
        (..., M).

    Example:
        >>> differentiate_series(torch.tensor([1.0, 0.0, 3.0]), 0, 1, 2)
        tensor([6., 1., 0.])
    """
    names = list_monomials(dim, order)
    place = {name: i for i, name in enumerate(names)}
    found = [
        (i, place[tuple(sorted((*name, axis)))], name.count(axis) + 1)
        for i, name in enumerate(names)
        if len(name) < order
    ]
    targets, sources, factors = zip(*found, strict=True)
    slope = torch.zeros_like(a)
    slope[..., list(targets)] = a[..., list(sources)] * a.new_tensor(factors)
    return slope


def invert_series(a: Tensor, dim: int, order: int) -> Tensor:
    """Invert matrices of power series: ``(A + N)^-1 = sum_k (-A^-1 N)^k A^-1``, N being nilpotent.

    Args:
        a: (..., n, n, M) coefficients, in the order of `list_monomials`; the constant matrix is invertible.
        dim: Number p of variables.
        order: Of the series.

    Returns:
        (..., n, n, M).

    Example:
        >>> invert_series(torch.tensor([[[1.0, 1.0, 0.0]]]), 1, 2)
        tensor([[[-1.,  1.,  1.]]])
    """
    centre, failed = torch.linalg.inv_ex(a[..., dim])
    # where a graph stands upright, nothing is known of its slope
    centre = torch.where(failed[..., None, None] > 0, torch.nan, centre)
    rest = a.clone()
    rest[..., dim] = 0
    step = -torch.einsum("...ij,...jkm->...ikm", centre, rest)
    total = torch.zeros_like(a)
    total[..., dim] = centre
    inverse = total
    for _ in range(order):
        product = multiply_series(step.unsqueeze(-2), inverse.unsqueeze(-4), dim, order).sum(-3)
        inverse = total + product
    return inverse
