"""Tensors that carry a class and attributes, such as torchvision's ``tv_tensors``: take these off and put them back."""

from __future__ import annotations

from torch import Tensor, nn


def undress(x: Tensor) -> Tensor:
    """Give the plain tensor inside; one that computes in its own way (``__torch_dispatch__``) is left alone.

    Args:
        x: Any tensor.

    Returns:
        The same values in the same memory.
    """
    return x.as_subclass(Tensor) if _is_dressed(x) else x


def dress(plain: Tensor, like: Tensor) -> Tensor:
    """Give a plain tensor the class and the attributes of another one.

    Args:
        plain: The values.
        like: What ``undress`` was given.

    Returns:
        The same values in the same memory.

    Example:
        >>> import torch
        >>> from torchvision.tv_tensors import Image
        >>> type(dress(undress(Image(torch.zeros(1, 2, 2))) + 1, Image(torch.zeros(1, 2, 2)))).__name__
        'Image'
    """
    if not _is_dressed(like):
        return plain
    dressed = plain.as_subclass(type(like))
    dressed.__dict__.update(like.__dict__)
    return dressed


def _is_dressed(x: Tensor) -> bool:
    kind = type(x)
    own_way = kind.__torch_dispatch__ is not Tensor.__torch_dispatch__
    return kind is not Tensor and not isinstance(x, nn.Parameter) and not own_way
