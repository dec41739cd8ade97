"""Keep the maths of small matrices in full precision, whatever the training run does around it."""

from __future__ import annotations

import torch
from torch import Tensor

_UNROLLED = 4


def full_precision(device: torch.device) -> torch.autocast:
    """Switch autocast off for the body of a ``with``.

    Args:
        device: Where the tensors of the body live.

    Returns:
        A context manager.

    Example:
        >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.float32
    """
    return torch.autocast(device.type, enabled=False)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Name the type that group maths runs in: the data's own, but at least float32.

    Args:
        dtype: The data's type; whole numbers count as float32.

    Returns:
        ``float32`` or ``float64``.

    Example:
        >>> working_dtype(torch.bfloat16), working_dtype(torch.float64)
        (torch.float32, torch.float64)
    """
    return torch.float64 if dtype == torch.float64 else torch.float32


def widen(x: Tensor) -> Tensor:
    """Cast to the type that group maths runs in; nothing happens to float32 and float64.

    Args:
        x: Any real tensor.

    Returns:
        The same values as float32 or float64.
    """
    return x.to(working_dtype(x.dtype))


def apply_matrix(matrix: Tensor, vectors: Tensor) -> Tensor:
    """Multiply every vector of a sample by the sample's matrix.

    ``out[b, n] = matrix[b] vectors[b, n]``. Up to four columns are summed one by one: a matrix product would be rounded
    to ten bits where the user allows TF32, which moves pixels.

    Args:
        matrix: (B, m, d) or (1, m, d).
        vectors: (B, N, d) or (1, N, d).

    Returns:
        (B, N, m).

    Example:
        >>> apply_matrix(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]]))
        tensor([[[0., 1.]]])
    """
    if 0 < matrix.shape[-1] <= _UNROLLED:
        # Points last in memory: the inner loops then run over them, not over the few coordinates.
        parts = vectors.mT.contiguous().unsqueeze(-2).unbind(-3)
        columns = matrix.unsqueeze(-1).unbind(-2)
        total = columns[0] * parts[0]
        for column, part in zip(columns[1:], parts[1:], strict=True):
            total = torch.addcmul(total, column, part)
        if total.requires_grad:
            # a gradient that nobody defined arrives as None
            total.register_hook(lambda gradient: gradient if gradient is None else gradient.contiguous())
        return total.mT
    return vectors @ matrix.mT
