"""How far two answers lie apart, one number a sample."""

from __future__ import annotations

from torch import Tensor

from lightning_symmetry.functional.precision import widen


def relative_residual(a: Tensor, b: Tensor, scale: Tensor | float) -> Tensor:
    """Average the squared difference over everything but the batch and divide by a scale.

    ``r_b = mean_i (a_bi - b_bi)^2 / scale_b``: without units where the scale is a mean square of the same quantity.

    Args:
        a: (B, ...).
        b: (B, ...) of the same shape.
        scale: Positive; a number or (B,), in the squared units of ``a``.

    Returns:
        (B,), at least float32.

    Example:
        >>> import torch
        >>> relative_residual(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]]), 2.0)
        tensor([1.])
    """
    squares = (widen(a) - widen(b)).square().reshape(a.shape[0], -1)
    return squares.mean(1) / scale
