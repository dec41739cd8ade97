"""Principal axes, whitening and nearest rotations of point clouds, with derivatives that stay finite.

The textbook derivatives divide by differences of eigenvalues even where the quantity itself is smooth; those here
divide only where it is not, and there by a number that is kept away from zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_GAP = 1e-6


class _PrincipalAxes(torch.autograd.Function):
    """Eigenvalues and eigenvectors; being saved as outputs, they can be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, axes = torch.linalg.eigh(matrix)
        return values, axes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, values_grad: Tensor, axes_grad: Tensor) -> Tensor:
        values, axes = ctx.saved_tensors
        inner = torch.diag_embed(values_grad) + _inverse_gaps(values) * (axes.mT @ axes_grad)
        slope = axes @ inner @ axes.mT
        return (slope + slope.mT) / 2

    @staticmethod
    def jvp(ctx: Any, matrix_tangent: Tensor) -> tuple[Tensor, Tensor]:
        values, axes = ctx.saved_tensors
        inner = axes.mT @ matrix_tangent @ axes
        return inner.diagonal(dim1=-2, dim2=-1).clone(), axes @ (_inverse_gaps(values) * inner)


def _inverse_gaps(values: Tensor) -> Tensor:
    """Give ``1 / (l_j - l_i)`` at place (i, j), bounded where the two nearly coincide."""
    gap = values.unsqueeze(-2) - values.unsqueeze(-1)
    bound = (_GAP * values.abs().amax(-1, keepdim=True)).unsqueeze(-1).clamp_min(torch.finfo(values.dtype).tiny ** 0.5)
    return gap / (gap.square() + bound.square())


def principal_axes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonalise symmetric matrices: ``C = U diag(l) U^T``.

    The derivative of U contains ``1 / (l_j - l_i)``, here ``gap / (gap^2 + eps^2)`` with ``eps = 1e-6 max l``.

    Args:
        matrix: (..., d, d), symmetric.

    Returns:
        (..., d), ascending, and (..., d, d), whose columns are the axes; their signs are arbitrary.

    Example:
        >>> principal_axes(torch.diag(torch.tensor([2.0, 1.0])))[0]
        tensor([1., 2.])
    """
    values, axes = _PrincipalAxes.apply(matrix)
    return values, axes


class _InverseSqrt(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
        values, axes = torch.linalg.eigh(matrix)
        values = torch.maximum(values, floor * values[..., -1:]).clamp_min(torch.finfo(values.dtype).tiny ** 0.25)
        return (axes * values.rsqrt().unsqueeze(-2)) @ axes.mT, values, axes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])
        ctx.save_for_forward(*output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, root_grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        values, axes = ctx.saved_tensors
        return _slope_of_root(values, axes, (root_grad + root_grad.mT) / 2), None

    @staticmethod
    def jvp(ctx: Any, matrix_tangent: Tensor, _: None) -> tuple[Tensor, None, None]:
        values, axes = ctx.saved_tensors
        return _slope_of_root(values, axes, matrix_tangent), None, None


def _slope_of_root(values: Tensor, axes: Tensor, tangent: Tensor) -> Tensor:
    """Apply the derivative of ``C^(-1/2)``, its own transpose, whose divided differences have no small divisor."""
    root = values.sqrt()
    column, row = root.unsqueeze(-1), root.unsqueeze(-2)
    return -axes @ ((axes.mT @ tangent @ axes) / (column * row * (column + row))) @ axes.mT


def inverse_sqrt(matrix: Tensor, floor: float = 0.0) -> Tensor:
    """Whiten: ``C^(-1/2)`` of symmetric positive matrices, differentiable once, also where eigenvalues coincide.

    Args:
        matrix: (..., d, d), symmetric, positive definite.
        floor: Eigenvalues below this share of the largest are raised to it.

    Returns:
        (..., d, d), symmetric.

    Example:
        >>> inverse_sqrt(4 * torch.eye(2))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    root: Tensor = _InverseSqrt.apply(matrix, floor)[0]
    return root


class _NearestRotation(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, mirrors: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        left, sizes, right = torch.linalg.svd(matrix)
        if not mirrors:
            sign = torch.linalg.det(left @ right).sign()
            flip = torch.ones_like(sizes)
            flip[..., -1] = sign
            left, sizes = left * flip.unsqueeze(-2), sizes * flip
        return left @ right, left, sizes, right

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, bool], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])
        ctx.save_for_forward(*output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rotation_grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        left, sizes, right = ctx.saved_tensors
        return _slope_of_rotation(left, sizes, right, rotation_grad), None

    @staticmethod
    def jvp(ctx: Any, matrix_tangent: Tensor, _: None) -> tuple[Tensor, None, None, None]:
        left, sizes, right = ctx.saved_tensors
        return _slope_of_rotation(left, sizes, right, matrix_tangent), None, None, None


def _slope_of_rotation(left: Tensor, sizes: Tensor, right: Tensor, tangent: Tensor) -> Tensor:
    """Apply the derivative of the polar factor, its own transpose: ``U [(A - A^T) / (s_i + s_j)] V^T``."""
    inner = left.mT @ tangent @ right.mT
    pair = sizes.unsqueeze(-1) + sizes.unsqueeze(-2)
    bound = (_GAP * sizes[..., :1]).unsqueeze(-1).clamp_min(torch.finfo(sizes.dtype).tiny ** 0.5)
    return left @ ((inner - inner.mT) * pair / (pair.square() + bound.square())) @ right


def nearest_rotation(matrix: Tensor, mirrors: bool = False) -> tuple[Tensor, Tensor]:
    """Take the orthogonal factor of the polar decomposition ``M = R P``: the rotation nearest to M.

    Args:
        matrix: (..., d, d).
        mirrors: Whether R may be a reflection; otherwise the least singular value is turned round where needed.

    Returns:
        (..., d, d), differentiable once; and (...), how well it is defined: the least sum of two singular values (their
        signs included) over the largest, or for ``mirrors`` the least singular value over the largest. At 0 there are
        several.

    Example:
        >>> nearest_rotation(torch.diag(torch.tensor([3.0, 2.0])))[0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    rotation, _, sizes, _ = _NearestRotation.apply(matrix, mirrors)
    # with one dimension there is no second singular value to add
    margin = sizes[..., -1] if mirrors or sizes.shape[-1] < 2 else sizes[..., -1] + sizes[..., -2]
    return rotation, margin / sizes[..., 0].clamp_min(torch.finfo(sizes.dtype).tiny)
