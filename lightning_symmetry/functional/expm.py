"""Matrix exponentials in closed form, smooth everywhere, in at least float32.

``torch.matrix_exp`` squares and multiplies; for the small matrices of this package the closed forms are faster with
their gradient (forward alone, the general plane and SE(3) are not). The caller names the structure of its matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from math import factorial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.precision import full_precision, widen

Structure = Literal["general", "skew", "diagonal", "affine", "rigid"]
_SLOPE = tuple(k / factorial(2 * k + 1) for k in range(1, 10))
_SINGLE = 6
_NODES, _WEIGHTS = (array.tolist() for array in np.polynomial.legendre.leggauss(16))
_POINTS = tuple((1 + node) / 2 for node in _NODES)
_SHARES = tuple(weight / 2 for weight in _WEIGHTS)


class _CoshSinhc(torch.autograd.Function):
    """The pair of entire functions, with derivatives that do not cancel near zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor) -> tuple[Tensor, Tensor]:
        negative = q < 0
        root = q.abs().sqrt().clamp_min(1e-30)
        cosh = torch.where(negative, root.cos(), root.cosh())
        return cosh, torch.where(negative, root.sin(), root.sinh()) / root

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], *output)
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, cosh_grad: Tensor, sinhc_grad: Tensor) -> Tensor:
        q, cosh, sinhc = ctx.saved_tensors
        return torch.addcmul(cosh_grad * (sinhc / 2), sinhc_grad, _sinhc_slope(q, cosh, sinhc))

    @staticmethod
    def jvp(ctx: Any, q_tangent: Tensor) -> tuple[Tensor, Tensor]:
        (q,) = ctx.saved_tensors
        cosh, sinhc = cosh_sinhc(q)
        return q_tangent * sinhc / 2, q_tangent * _sinhc_slope(q, cosh, sinhc)


def _sinhc_slope(q: Tensor, cosh: Tensor, sinhc: Tensor) -> Tensor:
    """Differentiate sinhc: ``S' = (C - S) / (2 q)``, by its series where that cancels."""
    small = q.abs() < 1
    series = _SLOPE if q.dtype == torch.float64 else _SLOPE[:_SINGLE]
    near = q * series[-1] + series[-2]
    for coefficient in reversed(series[:-2]):
        near = near * q + coefficient
    # The branch that is not taken must stay finite, or its gradient is 0 * inf.
    return torch.where(small, near, (cosh - sinhc) * 0.5 / q.masked_fill(small, 1.0))


def cosh_sinhc(q: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate cosh and sinhc of a square root without ever taking the root of a negative number.

    ``C(q) = cosh(sqrt q)`` and ``S(q) = sinh(sqrt q) / sqrt q``, which are ``cos`` and ``sinc`` of ``sqrt(-q)`` for
    negative ``q``; both are entire, and gradients of every order are right at ``q = 0`` as well.

    Args:
        q: Any shape.

    Returns:
        C and S, of the shape of ``q``.

    Example:
        >>> [round(float(v), 4) for v in cosh_sinhc(torch.tensor(-(torch.pi / 2) ** 2))]
        [-0.0, 0.6366]
    """
    return _CoshSinhc.apply(q)


def _halves(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return (first + second) * 0.5, (first - second) * 0.5


def expm2(a: Tensor) -> Tensor:
    """Exponentiate 2x2 matrices.

    With ``A = s I + N``, ``N`` traceless, ``N^2 = q I``: ``e^A = e^s (C(q) I + S(q) N)``.

    Args:
        a: (..., 2, 2).

    Returns:
        (..., 2, 2), at least float32.

    Example:
        >>> expm2(torch.tensor([[0.0, -torch.pi / 2], [torch.pi / 2, 0.0]])).round().abs()
        tensor([[0., 1.],
                [1., 0.]])
    """
    a00, a01, a10, a11 = widen(a).flatten(-2).unbind(-1)
    s, h = _halves(a00, a11)
    cosh, sinhc = cosh_sinhc(torch.addcmul(h * h, a01, a10))
    grow = s.exp()
    even, odd = grow * cosh, grow * sinhc
    tilt = odd * h
    return torch.stack((even + tilt, odd * a01, odd * a10, even - tilt), -1).unflatten(-1, (2, 2))


def expm_affine2(a: Tensor) -> Tensor:
    """Exponentiate affine maps of the plane: 3x3 matrices whose last row is zero.

    ``exp [[A, b], [0, 0]] = [[e^A, phi(A) b], [0, 1]]`` with ``phi(A) = int_0^1 e^{uA} du``, by 16 Gauss-Legendre
    points: exact to rounding for norms up to 10, and without the divisions of the textbook form where eigenvalues
    vanish or coincide.

    Args:
        a: (..., 3, 3), last row zero.

    Returns:
        (..., 3, 3) with last row (0, 0, 1), at least float32.
    """
    a00, a01, b0, a10, a11, b1 = widen(a)[..., :2, :].flatten(-2).unbind(-1)
    s, h = _halves(a00, a11)
    q = torch.addcmul(h * h, a01, a10)
    u = a00.new_tensor((*_POINTS, 1.0)).reshape(-1, *(1,) * q.ndim)
    share = a00.new_tensor(_SHARES).reshape(-1, *(1,) * q.ndim)
    cosh, sinhc = cosh_sinhc(u * u * q)
    grow = (u * s).exp()
    even, odd = grow * cosh, grow * (sinhc * u)
    # phi = p I + r N, and e^A, the integrand's end, likewise.
    p, r = (share * even[:-1]).sum(0), (share * odd[:-1]).sum(0)
    even, odd = even[-1], odd[-1]
    tilt = odd * h
    x = torch.addcmul(p * b0, r, torch.addcmul(h * b0, a01, b1))
    y = torch.addcmul(p * b1, r, torch.addcmul(a10 * b0, h, b1, value=-1))
    zero = torch.zeros_like(s)
    entries = (even + tilt, odd * a01, x, odd * a10, even - tilt, y, zero, zero, zero + 1)
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def expm_so2(a: Tensor) -> Tensor:
    """Exponentiate skew 2x2 matrices.

    Args:
        a: (..., 2, 2), skew; the angle is its entry (1, 0).

    Returns:
        (..., 2, 2), at least float32.
    """
    angle = widen(a)[..., 1, 0]
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((cos, -sin, sin, cos), -1).unflatten(-1, (2, 2))


def expm_se2(a: Tensor) -> Tensor:
    """Exponentiate rigid motions of the plane: 3x3 matrices, skew linear part, last row zero.

    ``phi(A) = sinc(w) I + (1 - cos w) / w^2 A`` with the angle ``w``.

    Args:
        a: (..., 3, 3), linear part skew, last row zero.

    Returns:
        (..., 3, 3) with last row (0, 0, 1), at least float32.
    """
    _, _, b0, angle, _, b1 = widen(a)[..., :2, :].flatten(-2).unbind(-1)
    cos, sinc, outer = _turn(-angle * angle)
    sin, lean = sinc * angle, outer * angle
    zero = torch.zeros_like(angle)
    entries = (cos, -sin, sinc * b0 - lean * b1, sin, cos, sinc * b1 + lean * b0, zero, zero, zero + 1)
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def _axis(a: Tensor) -> tuple[Tensor, Tensor]:
    """Give the axis w of a skew matrix, as long as its angle, and q = -|w|^2."""
    entries = a.flatten(-2).unbind(-1)
    w = torch.stack((entries[7], entries[2], entries[3]), -1)
    return w, -(w * w).sum(-1)


def _turn(q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give cos, sinc and (1 - cos) / angle^2 of the angle sqrt(-q)."""
    cosh, sinhc = cosh_sinhc(q * 0.25)
    outer = sinhc * sinhc * 0.5
    return torch.addcmul(torch.ones_like(q), q, outer), cosh * sinhc, outer


def _compose3(eye: Tensor, even: Tensor, odd: Tensor, outer: Tensor, a: Tensor, w: Tensor) -> Tensor:
    first = torch.addcmul(even[..., None, None] * eye, odd[..., None, None], a)
    return torch.addcmul(first, (outer.unsqueeze(-1) * w).unsqueeze(-1), w.unsqueeze(-2))


def expm_so3(a: Tensor) -> Tensor:
    """Exponentiate skew 3x3 matrices (Rodrigues).

    ``e^A = cos(w) I + sinc(w) A + (1 - cos w) / w^2 v v^T`` with the axis ``v`` of length ``w``, all three factors from
    half the angle, where nothing cancels.

    Args:
        a: (..., 3, 3), skew.

    Returns:
        (..., 3, 3), at least float32.

    Example:
        >>> turn = torch.tensor([[0.0, -torch.pi, 0.0], [torch.pi, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> expm_so3(turn).diagonal().round()
        tensor([-1., -1.,  1.])
    """
    a = widen(a)
    w, q = _axis(a)
    eye = torch.eye(3, dtype=a.dtype, device=a.device)
    return _compose3(eye, *_turn(q), a, w)


def expm_se3(a: Tensor) -> Tensor:
    """Exponentiate rigid motions of space: 4x4 matrices, skew linear part, last row zero.

    With the axis ``v`` of length ``w``, the offset is ``(sinc(w) I + V A + W v v^T) b``; ``V = (1 - cos w) / w^2``
    and ``W = (w - sin w) / w^3`` are computed without cancellation.

    Args:
        a: (..., 4, 4), linear part skew, last row zero.

    Returns:
        (..., 4, 4) with last row (0, 0, 0, 1), at least float32.
    """
    a = widen(a)
    skew, b = a[..., :3, :3], a[..., :3, 3:]
    w, q = _axis(skew)
    even, odd, outer = _turn(q)
    third = outer - 2 * _sinhc_slope(q, even, odd)
    eye = torch.eye(3, dtype=a.dtype, device=a.device)
    linear = _compose3(eye, even, odd, outer, skew, w)
    offset = (_compose3(eye, odd, outer, third, skew, w) * b.mT).sum(-1, keepdim=True)
    return torch.cat((torch.cat((linear, offset), -1), a[..., 3:, :] + a.new_tensor((0.0, 0.0, 0.0, 1.0))), -2)


def expm_diagonal(a: Tensor) -> Tensor:
    """Exponentiate diagonal matrices.

    Args:
        a: (..., n, n), diagonal.

    Returns:
        (..., n, n), at least float32.

    Example:
        >>> expm_diagonal(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    return torch.diag_embed(widen(a).diagonal(dim1=-2, dim2=-1).exp())


def expm_blocks(a: Tensor, sizes: Sequence[int]) -> Tensor:
    """Exponentiate block-diagonal matrices block by block; neighbours of one size go together.

    Args:
        a: (..., n, n), zero outside the blocks.
        sizes: Of the diagonal blocks, summing to n.

    Returns:
        (..., n, n), at least float32.

    Raises:
        InvalidSetting: The sizes do not sum to n.

    Example:
        >>> expm_blocks(torch.zeros(3, 3), [2, 1]).diagonal()
        tensor([1., 1., 1.])
    """
    n = a.shape[-1]
    if sum(sizes) != n:
        raise InvalidSetting(f"blocks {list(sizes)}", f"sizes that sum to {n}", "Give every coordinate its block.")
    a = widen(a)
    bands, start = [], 0
    for size, run in groupby(sizes):
        count = len(list(run))
        stop = start + size * count
        part = a[..., start:stop, start:stop].unflatten(-1, (count, size)).unflatten(-3, (count, size))
        blocks = expm(part.diagonal(dim1=-4, dim2=-2).movedim(-1, -3))
        spread = torch.diag_embed(blocks.movedim(-3, -1), dim1=-4, dim2=-2).flatten(-2).flatten(-3, -2)
        bands.append(F.pad(spread, (start, n - stop)))
        start = stop
    return torch.cat(bands, -2)


def expm(a: Tensor, structure: Structure = "general") -> Tensor:
    """Exponentiate matrices by the fastest form that their structure allows.

    Args:
        a: (..., n, n).
        structure: What the caller knows: "general"; "skew"; "diagonal"; "affine" (last row zero); "rigid" (last row
            zero, the linear part skew).

    Returns:
        (..., n, n), at least float32; autocast has no say.

    Example:
        >>> expm(torch.zeros(1, 5, 5)).diagonal(dim1=-2, dim2=-1)
        tensor([[1., 1., 1., 1., 1.]])
    """
    with full_precision(a.device):
        n = a.shape[-1]
        if n == 1:
            return widen(a).exp()
        if structure == "diagonal":
            return expm_diagonal(a)
        return _CLOSED.get((structure, n), _general)(a)


def has_closed_form(structure: Structure, size: int) -> bool:
    """Tell whether `expm` knows a closed form.

    Args:
        structure: Of the matrices.
        size: Of the matrices, n.

    Returns:
        Whether it does.

    Example:
        >>> has_closed_form("skew", 3), has_closed_form("general", 3)
        (True, False)
    """
    return size == 1 or structure == "diagonal" or (structure, size) in _CLOSED


def _general(a: Tensor) -> Tensor:
    # the series wants its matrices one after the other, which those of a block diagonal are not
    return torch.matrix_exp(widen(a).contiguous())


_CLOSED: dict[tuple[str, int], Callable[[Tensor], Tensor]] = {
    ("general", 2): expm2,
    ("skew", 2): expm_so2,
    ("skew", 3): expm_so3,
    ("affine", 3): expm_affine2,
    ("rigid", 3): expm_se2,
    ("rigid", 4): expm_se3,
}
