"""Numbers that follow from the content of a sample, whatever batch or process it comes in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def hash_rows(tensors: Sequence[Tensor]) -> Tensor:
    """Hash every row by its bits: equal rows have equal numbers, on every machine.

    Args:
        tensors: Each (B, ...).

    Returns:
        (B,), int64.

    Example:
        >>> hash_rows([torch.tensor([[1.0], [2.0], [1.0]])]).unique().shape
        torch.Size([2])
    """
    total: Tensor | None = None
    for tensor in tensors:
        flat = tensor.detach().reshape(len(tensor), -1).contiguous()
        words = flat.view(_BITS[flat.element_size()]).to(torch.int64)
        places = mix_bits(torch.arange(1, words.shape[1] + 1, device=words.device))
        part = mix_bits((mix_bits(words) * (2 * places + 1)).sum(1))
        total = part if total is None else mix_bits(total + part)
    if total is None:
        return torch.zeros(0, dtype=torch.int64)
    return total


def mix_bits(words: Tensor) -> Tensor:
    """Spread the information of whole numbers over all their bits.

    Args:
        words: int64.

    Returns:
        int64 of the same shape.

    Reference:
        Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014.
    """
    z = words + _GOLDEN
    z = (z ^ _shift(z, 30)) * _FIRST
    z = (z ^ _shift(z, 27)) * _SECOND
    return z ^ _shift(z, 31)


def hashed_normals(keys: Tensor, size: int, stream: int = 0) -> Tensor:
    """Draw from the standard normal law, every row by its key.

    Args:
        keys: (B,), of `hash_rows`.
        size: Numbers a row.
        stream: Other streams are independent.

    Returns:
        (B, size), float64.

    Example:
        >>> z = hashed_normals(hash_rows([torch.arange(10000.0)[:, None]]), 1)
        >>> abs(float(z.mean())) < 0.05, abs(float(z.var()) - 1) < 0.05
        (True, True)
    """
    places = mix_bits(torch.arange(size, device=keys.device) + (stream << 32))
    uniform = _shift(mix_bits(keys[:, None] ^ places), 11).double() / 2**53
    return (2 * uniform.clamp(2.0**-53, 1 - 2.0**-53) - 1).erfinv() * 2**0.5


def _shift(words: Tensor, by: int) -> Tensor:
    """Shift to the right and fill with zeros."""
    return (words >> by) & ((1 << (64 - by)) - 1)
