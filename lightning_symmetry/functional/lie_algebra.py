"""Lie algebras by their structure constants: series, radicals, Killing form, rank, and the ideals that they sum from.

``c[i, j, k]`` are coordinates of brackets, ``[e_i, e_j] = sum_k c_ijk e_k``; subspaces are orthonormal rows of
coordinates. Learnt constants carry noise, the standard deviation of one of them: every dimension below is the rank of a
matrix, decided at the widest gap of its singular values near the size that this noise alone would give them.

References:
    Humphreys, Introduction to Lie Algebras and Representation Theory, 1972.
    de Graaf, Lie Algebras: Theory and Algorithms, 2000.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_symmetry.functional.ranks import ROUNDING, count_above, eigenvalues, noise_norm, null_of, span_of

# Products of adjoint matrices up to this length find the nilradical by their traces.
_LENGTH = 4
# Noise above this share of the constants is noise, below it is rounding.
_NOISY = 1e-6
_TINY = 1e-12
# Random elements; one of them may be special by chance.
_DRAWS = 16
# Real parts of a commuting map's eigenvalues further apart than this share of its size belong to different ideals.
_APART = 0.5


def killing_form(c: Tensor) -> Tensor:
    """Give the Killing form, ``K_ij = tr(ad_i ad_j) = sum_kl c_ikl c_jlk``.

    Args:
        c: (r, r, r).

    Returns:
        (r, r), symmetric: negative definite for rotations, indefinite with boosts, degenerate with a solvable ideal.

    Example:
        >>> i, j, k = torch.eye(3)
        >>> c = torch.stack([torch.stack([torch.linalg.cross(a, b) for b in (i, j, k)]) for a in (i, j, k)])
        >>> killing_form(c)
        tensor([[-2.,  0.,  0.],
                [ 0., -2.,  0.],
                [ 0.,  0., -2.]])
    """
    form = torch.einsum("ikl,jlk->ij", c, c)
    return (form + form.mT) / 2


def compress(c: Tensor, space: Tensor) -> Tensor:
    """Give the constants of a subalgebra, or of a quotient where the space is the complement of an ideal.

    Args:
        c: (r, r, r).
        space: (k, r), orthonormal.

    Returns:
        (k, k, k).
    """
    return torch.einsum("ai,bj,ijm,km->abk", space, space, c, space)


def bracket_span(c: Tensor, a: Tensor, b: Tensor, noise: float = 0.0) -> Tensor:
    """Give the span of all brackets between two subspaces, (k, r)."""
    products = torch.einsum("ai,bj,ijk->abk", a, b, c).flatten(0, 1)
    # each bracket stands there twice where both spaces are the same
    return span_of(products, noise_norm(noise, *products.shape))


def derived_series(c: Tensor, noise: float = 0.0) -> list[Tensor]:
    """Give the spans of ``g, [g, g], [[g, g], [g, g]], ...`` until they stay: solvable if the last is empty."""
    series = [torch.eye(len(c), dtype=c.dtype)]
    while len(series[-1]):
        following = bracket_span(c, series[-1], series[-1], noise)
        if len(following) >= len(series[-1]):
            break
        series.append(following)
    return series


def lower_central_series(c: Tensor, noise: float = 0.0) -> list[Tensor]:
    """Give the spans of ``g, [g, g], [g, [g, g]], ...`` until they stay: nilpotent if the last is empty."""
    series = [torch.eye(len(c), dtype=c.dtype)]
    while len(series[-1]):
        following = bracket_span(c, series[0], series[-1], noise)
        if len(following) >= len(series[-1]):
            break
        series.append(following)
    return series


def centre(c: Tensor, noise: float = 0.0) -> Tensor:
    """Give what commutes with everything, (k, r)."""
    rows = c.flatten(1).mT
    return null_of(rows, noise_norm(noise, *rows.shape))


def killing_cut(c: Tensor, noise: float) -> float:
    """Give the size of the Killing form's eigenvalues that noise alone makes."""
    return math.sqrt(2) * _largest(c) * noise_norm(noise, len(c), len(c))


def radical(c: Tensor, noise: float = 0.0) -> Tensor:
    """Give the largest solvable ideal, ``{x : K(x, [g, g]) = 0}``, (k, r)."""
    everything = torch.eye(len(c), dtype=c.dtype)
    derived = bracket_span(c, everything, everything, noise)
    return null_of(derived @ killing_form(c), killing_cut(c, noise))


def nilradical(c: Tensor, noise: float = 0.0) -> Tensor:
    """Give the largest nilpotent ideal: x in the radical with tr(ad_x W) = 0 for all products W of adjoint matrices."""
    solvable = radical(c, noise)
    if not len(solvable):
        return solvable
    adjoint = c.mT
    size = max(_largest(c), _TINY)
    words, rows = [torch.eye(len(c), dtype=c.dtype)], []
    for generic in _generic(c, _LENGTH * len(c)):
        word = words[-1] @ generic / size
        words = [*words, word] if len(words) < _LENGTH else words[:1]
        rows.append(torch.einsum("ikl,lk->i", adjoint, word))
    rows.append(torch.einsum("ikk->i", adjoint) / math.sqrt(len(c)))
    traces = torch.stack(rows) @ solvable.mT
    # a trace with a word of at most unit norm has the noise of one constant from each factor
    return null_of(traces, _LENGTH * noise_norm(noise, *traces.shape)) @ solvable


def rank(c: Tensor, noise: float = 0.0) -> int:
    """Give the dimension of a Cartan subalgebra: the least multiplicity of the eigenvalue 0 of an adjoint matrix.

    Read from singular values of a power, from which nilpotent parts have gone: the fourth, or the second where noise
    would drown the fourth.
    """
    if _largest(c) < _TINY:
        return len(c)
    power = 2 if noise > _NOISY * _largest(c) else 4
    counts = []
    for generic in _generic(c, _DRAWS):
        size = float(torch.linalg.matrix_norm(generic, 2))
        sizes = torch.linalg.svdvals(torch.linalg.matrix_power(generic / size, power))
        counts.append(count_above(sizes, max(noise_norm(noise, *generic.shape) / size, ROUNDING)))
    return len(c) - max(counts)


def centroid(c: Tensor, noise: float = 0.0) -> Tensor:
    """Give the maps that commute with every adjoint matrix, (m, r, r); the identity alone for most simple algebras."""
    size, adjoint = len(c), c.mT
    identity = torch.eye(size, dtype=c.dtype)
    # sum_i (1 x A^T - A x 1)^T (1 x A^T - A x 1), which measures T A - A T
    both = torch.einsum("iab,icd->acbd", adjoint, adjoint).reshape(size**2, size**2)
    rows, columns = (adjoint @ adjoint.mT).sum(0), (adjoint.mT @ adjoint).sum(0)
    gram = torch.kron(identity, rows) + torch.kron(columns, identity) - both - both.mT
    values, vectors = torch.linalg.eigh(gram)
    sizes = values.clamp_min(0).sqrt().flip(0)
    cut = max(2 * noise * size, 1e-6 * float(sizes[0]), _TINY)
    return vectors.mT.flip(0)[count_above(sizes, cut) :].reshape(-1, size, size)


def direct_summands(c: Tensor, noise: float = 0.0) -> list[Tensor]:
    """Write an algebra as a direct sum of ideals that are sums no further; all that is abelian is one of them.

    What is central and no bracket is split off first. Of the rest, the maps that commute with the adjoint
    representation are constant (up to nilpotent and complex parts) on each ideal: its ideals are told apart by the real
    parts of their eigenvalues.

    Args:
        c: (r, r, r).
        noise: Standard deviation of a constant.

    Returns:
        Orthonormal bases (k, r) of the ideals, the abelian one first.
    """
    everything = torch.eye(len(c), dtype=c.dtype)
    derived = bracket_span(c, everything, everything, noise)
    if not len(derived):
        return [everything]
    central = centre(c, noise)
    tilt = max(4 * noise_norm(noise, *c.shape[:2]) / max(_largest(c), _TINY), 1e-6)
    left, sizes, _ = torch.linalg.svd(central - central @ derived.mT @ derived, full_matrices=False)
    free = left.mT[: count_above(sizes, tilt)] @ central
    if not len(free):
        return _split_by_centroid(c, noise)
    rest = span_of(torch.cat((derived, null_of(torch.cat((derived, free))))))
    return [free, *(ideal @ rest for ideal in _split_by_centroid(compress(c, rest), noise))]


def _split_by_centroid(c: Tensor, noise: float) -> list[Tensor]:
    everything = torch.eye(len(c), dtype=c.dtype)
    maps = centroid(c, noise) if len(c) > 3 else everything[None]
    if len(maps) < 2:
        return [everything]
    best, chosen, middle = 0.0, everything, 0.0
    for weights in torch.randn(_DRAWS, len(maps), dtype=c.dtype, generator=torch.Generator().manual_seed(1)):
        one = torch.einsum("m,mij->ij", weights, maps)
        parts = eigenvalues(one).real.sort().values
        gap, place = parts.diff().max(0)
        deviation = one - one.trace() / len(c) * everything
        apart = float(gap) * math.sqrt(len(c)) / max(float(deviation.norm()), _TINY)
        if apart > best:
            best, chosen, middle = apart, one, float(parts[place] + gap / 2)
    if best < _APART:
        return [everything]
    sign = chosen - middle * everything
    for _ in range(60):
        sign = (sign + torch.linalg.inv(sign)) / 2
    found = []
    for side in (everything + sign, everything - sign):
        count = round(float(side.trace()) / 2)
        ideal = torch.linalg.svd(side)[0].mT[:count]
        found += [part @ ideal for part in _split_by_centroid(compress(c, ideal), noise)]
    return found


def _generic(c: Tensor, count: int) -> Tensor:
    """Draw adjoint matrices of random elements, the same ones at every call: (count, r, r)."""
    weights = torch.randn(count, len(c), dtype=c.dtype, generator=torch.Generator().manual_seed(0))
    return torch.einsum("ni,ijk->nkj", weights / weights.norm(dim=1, keepdim=True), c)


def _largest(c: Tensor) -> float:
    """Give the largest Frobenius norm of the adjoint matrix of a unit element."""
    return float(torch.linalg.matrix_norm(c.flatten(1), 2))
