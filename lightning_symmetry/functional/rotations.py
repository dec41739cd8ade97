"""Uniform rotations, and the logarithm of rotations and rigid motions."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor


def uniform_rotations(normal: Tensor) -> Tensor:
    """Turn normal numbers into rotations of the Haar law, the one that no rotation changes.

    In the plane two of the numbers give a direction, in space four a quaternion; beyond, the matrix is factored as QR
    with a positive diagonal of R, which makes Q uniform on the orthogonal group, and mirrored where needed.

    Args:
        normal: (..., d, d), independent and standard normal, d at least 2.

    Returns:
        (..., d, d).

    Reference:
        Mezzadri, How to generate random matrices from the classical compact groups, 2007.

    Example:
        >>> turns = uniform_rotations(torch.randn(5, 4, 4))
        >>> bool(torch.allclose(torch.linalg.det(turns), torch.ones(5)))
        True
    """
    if normal.shape[-1] == 2:
        cosine, sine = F.normalize(normal[..., 0, :], dim=-1).unbind(-1)
        return torch.stack((cosine, -sine, sine, cosine), -1).unflatten(-1, (2, 2))
    if normal.shape[-1] == 3:
        return _from_quaternion(normal.flatten(-2)[..., :4])
    factors = torch.linalg.qr(normal)
    q = factors.Q * factors.R.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    first = torch.linalg.det(q).sign().unsqueeze(-1) * q[..., 0]
    return torch.cat((first.unsqueeze(-1), q[..., 1:]), -1)


def log_rotation(matrix: Tensor) -> Tensor:
    """Give the coordinates of rotations of the plane or of space.

    The smallest t with ``exp(sum_k t_k L_k) = R``, for the generators of SO(d) in the order of its planes; at half a
    turn one of the two.

    Args:
        matrix: (..., d, d) with d = 2 or 3.

    Returns:
        (..., K), radians.

    Example:
        >>> log_rotation(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        tensor([1.5708])
    """
    if matrix.shape[-1] == 2:
        return torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0]).unsqueeze(-1)
    quaternion = _to_quaternion(matrix)
    sine = quaternion[..., 1:].norm(dim=-1, keepdim=True)
    # half the angle over its sine; both vanish at the identity
    ratio = torch.where(sine > 1e-12, torch.atan2(sine, quaternion[..., :1]) / sine.clamp_min(1e-12), 1.0)
    x, y, z = (2 * ratio * quaternion[..., 1:]).unbind(-1)
    return torch.stack((z, -y, x), -1)


def log_rigid(matrix: Tensor, offset: Tensor) -> Tensor:
    """Give the coordinates of rigid motions of the plane or of space.

    With W the logarithm of the rotation and a its angle, the offset of ``exp`` is ``V u``, and
    ``V^-1 = 1 - W / 2 + (1 - (a / 2) cot(a / 2)) W^2 / a^2``.

    Args:
        matrix: (..., d, d) rotations, d = 2 or 3.
        offset: (..., d).

    Returns:
        (..., K + d): rotations, then translations.
    """
    dim = matrix.shape[-1]
    turn = log_rotation(matrix)
    skew = torch.zeros_like(matrix)
    for k, (i, j) in enumerate(combinations(range(dim), 2)):
        skew[..., j, i], skew[..., i, j] = turn[..., k], -turn[..., k]
    angle = turn.norm(dim=-1)
    half = angle.clamp_min(1e-4) / 2
    share = torch.where(angle > 1e-4, (1 - half / half.tan()) / (4 * half * half), 1 / 12)
    once = (skew @ offset.unsqueeze(-1)).squeeze(-1)
    twice = (skew @ once.unsqueeze(-1)).squeeze(-1)
    return torch.cat((turn, offset - once / 2 + share.unsqueeze(-1) * twice), -1)


def _from_quaternion(quaternion: Tensor) -> Tensor:
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _to_quaternion(matrix: Tensor) -> Tensor:
    """Read unit quaternions (w, x, y, z), w >= 0, from the largest column of 4 q q^T, which never cancels."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrix.unbind(-2))
    products = torch.stack(
        (
            torch.stack((1 + a + e + i, h - f, c - g, d - b), -1),
            torch.stack((h - f, 1 + a - e - i, b + d, c + g), -1),
            torch.stack((c - g, b + d, 1 - a + e - i, f + h), -1),
            torch.stack((d - b, c + g, f + h, 1 - a - e + i), -1),
        ),
        -2,
    )
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    column = products.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    quaternion = column / column.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
