"""Spans of generators: data determine no more of a learnt basis, so bases are compared and read through their spans.

Everything runs in double precision on the CPU and forgets gradients: these are results for people.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Singular values below this fraction of the largest are rounding, not a direction.
RANK_TOLERANCE = 1e-6
# Two pivots closer than this are a tie, which the lower index wins: rounding must not choose the basis.
_TIE = 1e-6
# Sweeps end when a whole sweep has won less than this share of the L1 norm.
_CONVERGED = 1e-10
_MOST_SWEEPS = 50
# A linear part weaker than this fraction of the offset is noise on a translation.
_LINEAR_SHARE = 0.5


def orthonormal_span(a: Tensor, rtol: float = RANK_TOLERANCE) -> Tensor:
    """Orthonormalise generators and drop what depends on others.

    Right singular vectors of the (K, p) matrix of flattened generators whose singular value exceeds ``rtol`` times the
    largest.

    Args:
        a: (K, ...) generators.
        rtol: Relative size from which on a direction counts.

    Returns:
        (r, ...), float64, Frobenius-orthonormal, r the rank; r = 0 where all generators vanish.

    Example:
        >>> orthonormal_span(torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]]])).abs()
        tensor([[[1., 0.]]], dtype=torch.float64)
    """
    if a.numel() == 0:
        return torch.zeros(0, *a.shape[1:], dtype=torch.float64)
    flat = a.detach().to("cpu", torch.float64).reshape(a.shape[0], -1)
    _, sizes, rows = torch.linalg.svd(flat, full_matrices=False)
    kept = sizes > max(rtol * float(sizes[0]), torch.finfo(torch.float64).tiny)
    return rows[kept].reshape(-1, *a.shape[1:])


def principal_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of the principal angles between two spans.

    Singular values of Q_a Q_b^T with orthonormal rows Q. All are 1 exactly when one span lies inside the other.

    Args:
        a: (K, ...) generators.
        b: (M, ...) generators of the same shape.

    Returns:
        (min(K, M),), descending, in [0, 1]; a direction that dependent generators lack counts as 0.

    References:
        Björck and Golub, Numerical methods for computing angles between linear subspaces, 1973.

    Example:
        >>> turn, scale = torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.eye(2)
        >>> principal_cosines(torch.stack([turn, scale]), 5 * turn[None]).round(decimals=6)
        tensor([1.], dtype=torch.float64)
    """
    left, right = (orthonormal_span(t).flatten(1) for t in (a, b))
    cosines = torch.zeros(min(a.shape[0], b.shape[0]), dtype=torch.float64)
    if len(left) and len(right):
        found = torch.linalg.svdvals(left @ right.mT).clamp_max(1.0)
        cosines[: len(found)] = found
    return cosines


def cosine_to_span(a: Tensor, span: Tensor) -> Tensor:
    """Cosine between each generator and a span: |P a| / |a|, P projecting onto the span.

    Args:
        a: (K, ...) generators.
        span: (M, ...) generators of the same shape.

    Returns:
        (K,) in [0, 1], float64; 0 for a generator that vanishes.

    Example:
        >>> cosine_to_span(torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 0.0]])).round(decimals=4)
        tensor([0.7071], dtype=torch.float64)
    """
    flat = a.detach().to("cpu", torch.float64).reshape(a.shape[0], -1)
    inside = (flat @ orthonormal_span(span).flatten(1).mT).norm(dim=1)
    size = flat.norm(dim=1)
    return torch.where(size > 0, inside / size.clamp_min(torch.finfo(torch.float64).tiny), 0.0).clamp_max(1.0)


def lie_closure_residual(a: Tensor, rtol: float = RANK_TOLERANCE) -> float:
    """Share of the brackets of a basis that its span lacks: 0 for a Lie algebra.

    sqrt( sum_ij || [E_i, E_j] - P [E_i, E_j] ||^2 / sum_ij || [E_i, E_j] ||^2 ) over an orthonormal basis E of the
    span, P projecting onto it. Below 0.05 the span is as good as closed; three random 3 x 3 matrices give about 0.6.

    Args:
        a: (K, n, n) generators; homogeneous ones for affine maps.
        rtol: Relative size from which on a direction of the span counts.

    Returns:
        A number in [0, 1]; 0 where everything commutes.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> lie_closure_residual(SO(3).basis()) < 1e-12, lie_closure_residual(SO(3).basis()[:2])
        (True, 1.0)
    """
    span = orthonormal_span(a, rtol)
    products = span.unsqueeze(1) @ span.unsqueeze(0)
    brackets = (products - products.transpose(0, 1)).flatten(0, 1).flatten(1)
    size = float(brackets.norm())
    if size < 1e-9:
        return 0.0
    rows = span.flatten(1)
    return float((brackets - brackets @ rows.mT @ rows).norm()) / size


def quarter_turn_norm(dim: int) -> float:
    """Frobenius norm of a generator that turns every coordinate plane by a right angle: sqrt(2 floor(d/2)) pi/2.

    Args:
        dim: Dimension d of the space.

    Returns:
        A norm; sqrt(2) pi/2 in the plane and in space.

    Example:
        >>> round(quarter_turn_norm(2), 3), round(quarter_turn_norm(8), 3)
        (2.221, 4.443)
    """
    return math.sqrt(2 * max(dim // 2, 1)) * math.pi / 2


def unit_speed(a: Tensor, affine: bool = False) -> Tensor:
    """Scale generators so that their coefficient has a plain meaning.

    A generator whose linear part is mostly skew is divided by the spectral norm of that skew part: its coefficient is
    the angle of the fastest plane, whatever the centre, and however many planes turn together (Frobenius norm sqrt(2)
    times the root of the number of equal planes). Any other is divided by its own spectral norm: the coefficient is the
    distance of a translation, the logarithm of a scaling factor, the rapidity of a boost.

    Args:
        a: (K, n, n) generators.
        affine: Whether they are homogeneous, with the offset in the last column.

    Returns:
        (K, n, n); a generator that vanishes is returned as it is.

    Example:
        >>> unit_speed(torch.tensor([[[0.0, -7.0], [7.0, 0.0]]]))[0, 1, 0].item()
        1.0
    """
    turning = torch.linalg.matrix_norm(_skew(a, affine), 2)
    whole = torch.linalg.matrix_norm(a, 2)
    speed = torch.where(is_rotation_like(a, affine), turning, whole)
    return a / torch.where(speed > 0, speed, 1.0)[:, None, None]


def is_rotation_like(a: Tensor, affine: bool = False) -> Tensor:
    """Whether the skew part of the linear part outweighs the symmetric one, and the offset is not all there is.

    Args:
        a: (K, n, n) generators.
        affine: Whether they are homogeneous.

    Returns:
        (K,) of bool.
    """
    linear = a[:, :-1, :-1] if affine else a
    skew, even = torch.linalg.matrix_norm(_skew(a, affine)), torch.linalg.matrix_norm((linear + linear.mT) / 2)
    offset = a[:, :-1, -1].norm(dim=1) if affine else torch.zeros_like(skew)
    return (skew > even) & (torch.linalg.matrix_norm(linear) >= _LINEAR_SHARE * offset)


def canonical_basis(a: Tensor, affine: bool = False, rtol: float = RANK_TOLERANCE) -> Tensor:
    """Rotate an orthonormal basis of a span until it is sparse, then fix scale, sign and order.

    Minimises sum_k || sum_l R_kl E_l ||_1 over orthogonal R by sweeps of planar rotations. The L1 norm along one planar
    rotation is concave between the angles that make an entry vanish, so its exact minimum is found by trying these. The
    start depends on the span alone (pivoted Cholesky factor of the projector onto it). Scale: `unit_speed`. Sign:
    the largest entry below the diagonal is positive (the largest of all where nothing lies below). Order: rotations,
    other linear maps, translations; each by the place of the largest entry, as in the known groups.

    Args:
        a: (K, n, n) generators, of any size and mixture.
        affine: Whether they are homogeneous.
        rtol: Relative size from which on a direction of the span counts.

    Returns:
        (r, n, n), of the type of ``a``, r the rank.

    Cost: a sweep is r^2 / 2 planar steps of p^2 operations on p = n^2 entries; meant for the small matrices of groups.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> mixed = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
        >>> basis = canonical_basis(torch.einsum("kl,lij->kij", mixed, SO(3).basis()))
        >>> torch.allclose(basis, SO(3).basis(), atol=1e-6)
        True
    """
    span = orthonormal_span(a, rtol)
    if len(span) == 0:
        return span.to(a)
    rows = _sparsify(_pivot(span.flatten(1)))
    basis = unit_speed(rows.reshape(-1, *a.shape[1:]), affine)
    basis = _fix_sign(basis)
    order = sorted(range(len(basis)), key=lambda k: _place(basis[k : k + 1], affine))
    return basis[order].to(a)


def canonical_fields(a: Tensor, rtol: float = RANK_TOLERANCE) -> Tensor:
    """Rotate an orthonormal basis of a span of polynomial fields until it is sparse, then fix scale and sign.

    As `canonical_basis`, for coefficients whose first d + 1 columns are the rows of a homogeneous matrix. A field whose
    norm is mostly in these is scaled and signed as that matrix; any other has Frobenius norm sqrt(2), the largest
    coefficient being positive.

    Args:
        a: (K, d, M) coefficients.
        rtol: Relative size from which on a direction of the span counts.

    Returns:
        (r, d, M), of the type of ``a``, r the rank.

    Example:
        >>> canonical_fields(torch.tensor([[[0.0, -3.0, 0.0], [3.0, 0.0, 0.0]]]))
        tensor([[[ 0., -1.,  0.],
                 [ 1.,  0.,  0.]]])
    """
    span = orthonormal_span(a, rtol)
    if len(span) == 0:
        return span.to(a)
    fields = _sparsify(_pivot(span.flatten(1))).reshape(-1, *a.shape[1:])
    matrices = torch.nn.functional.pad(fields[..., : a.shape[1] + 1], (0, 0, 0, 1))
    sizes = torch.linalg.matrix_norm(matrices)
    scaled = _fix_sign(unit_speed(matrices, affine=True))
    # by how much, and which way, the affine part was changed
    factor = (scaled * matrices).flatten(1).sum(1) / sizes.square().clamp_min(torch.finfo(sizes.dtype).tiny)
    flat = fields.flatten(1)
    largest = flat.gather(1, (flat.abs() >= 0.9 * flat.abs().amax(1, keepdim=True)).int().argmax(1, keepdim=True))
    norms = flat.norm(dim=1)
    other = math.sqrt(2) * largest.squeeze(1).sign() / norms
    scaled = fields * torch.where(sizes > 0.9 * norms, factor, other)[:, None, None]
    # no negative zeros
    return (scaled + 0.0).to(a)


def _skew(a: Tensor, affine: bool) -> Tensor:
    linear = a[:, :-1, :-1] if affine else a
    return (linear - linear.mT) / 2


def _pivot(rows: Tensor) -> Tensor:
    """Choose an orthonormal basis of the row space that depends on that space alone: (r, p) to (r, p)."""
    remainder = rows.mT @ rows
    factors = []
    for _ in range(len(rows)):
        diagonal = remainder.diagonal()
        pivot = int((diagonal >= diagonal.max() - _TIE).nonzero()[0])
        column = remainder[:, pivot] / diagonal[pivot].sqrt()
        factors.append(column)
        remainder = remainder - torch.outer(column, column)
    # rounding of the recursion is removed; orthonormal rows stay where they are
    u, _, v = torch.linalg.svd(torch.stack(factors), full_matrices=False)
    return u @ v


def _sparsify(rows: Tensor) -> Tensor:
    """Minimise the L1 norm over rotations among orthonormal rows (r, p)."""
    rows = rows.clone()
    for _ in range(_MOST_SWEEPS):
        before = float(rows.abs().sum())
        for i in range(len(rows)):
            for j in range(i + 1, len(rows)):
                rows[[i, j]] = _turn_sparse(rows[i], rows[j])
        if before - float(rows.abs().sum()) <= _CONVERGED * before:
            break
    # what an exact zero has become by rounding
    return torch.where(rows.abs() < 1e-12, 0.0, rows)


def _turn_sparse(x: Tensor, y: Tensor) -> Tensor:
    """Rotate two rows in their plane to the least L1 norm: 2 x (p,) to (2, p)."""
    present = torch.hypot(x, y) > 1e-12
    x_, y_ = x[present], y[present]
    angles = torch.cat((x.new_zeros(1), torch.atan2(y_, x_) % (math.pi / 2)))
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    cost = (cos * x_ + sin * y_).abs().sum(1) + (cos * y_ - sin * x_).abs().sum(1)
    # the first angle keeps the rows as they are and wins ties, so that sweeps come to rest
    cost[0] -= 1e-9 * cost[0].abs()
    best = angles[cost.argmin()]
    return torch.stack((best.cos() * x + best.sin() * y, best.cos() * y - best.sin() * x))


def _fix_sign(basis: Tensor) -> Tensor:
    below = torch.tril(basis, -1).flatten(1)
    everything = basis.flatten(1)
    largest = everything.abs().amax(1, keepdim=True)
    entries = torch.where(below.abs().amax(1, keepdim=True) > 0.1 * largest, below, everything)
    # among nearly equal entries the first decides, so that noise does not
    leading = (entries.abs() >= 0.9 * entries.abs().amax(1, keepdim=True)).int().argmax(1, keepdim=True)
    sign = torch.where(entries.gather(1, leading) < 0, -1.0, 1.0)
    return basis * sign[:, :, None]


def _place(generator: Tensor, affine: bool) -> tuple[int, int]:
    """Kind and position of the largest entry; transposed, as the known groups count planes (0, 1), (0, 2), (1, 2)."""
    linear = generator[:, :-1, :-1] if affine else generator
    offset = generator[:, :-1, -1] if affine else generator.new_zeros(1, 1)
    if bool(is_rotation_like(generator, affine)):
        kind, entries = 0, torch.tril(linear, -1)[0].mT
    elif float(torch.linalg.matrix_norm(linear)) >= float(offset.norm()):
        kind, entries = 1, linear[0]
    else:
        kind, entries = 2, offset[0]
    flat = entries.reshape(-1).abs()
    return kind, int((flat >= 0.9 * flat.max()).int().argmax())
