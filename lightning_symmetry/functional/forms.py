"""Bilinear forms that generators leave alone."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_symmetry.functional.ranks import noise_norm, null_of


def preserved_forms(a: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Find all forms M with ``L^T M + M L = 0`` for every generator L.

    ``exp(t L)^T M exp(t L) = M`` then holds for all t.

    Args:
        a: (r, n, n) generators.
        noise: Standard deviation of an entry.

    Returns:
        Symmetric forms (s, n, n) and skew forms (k, n, n), each Frobenius-orthonormal.

    Cost: two singular value decompositions of r n^2 by n^2 / 2 numbers.

    Example:
        >>> from lightning_symmetry.groups import Lorentz
        >>> symmetric, skew = preserved_forms(Lorentz(4).basis())
        >>> (symmetric[0] / symmetric[0, 0, 0]).diagonal().round(decimals=4), len(skew)
        (tensor([ 1., -1., -1., -1.], dtype=torch.float64), 0)
    """
    a = a.detach().to("cpu", torch.float64)
    size = a.shape[-1]
    spaces = []
    for sign in (1, -1):
        i, j = torch.triu_indices(size, size, offset=0 if sign > 0 else 1)
        trial = a.new_zeros(len(i), size, size)
        every = torch.arange(len(i))
        # of unit norm: on the diagonal both entries are one
        weight = torch.where(i == j, 1.0, 0.5**0.5).to(a.dtype)
        trial[every, i, j] = weight
        trial[every, j, i] = sign * weight
        defects = a.mT[:, None] @ trial + trial @ a[:, None]
        rows = defects.permute(0, 2, 3, 1).flatten(0, 2)
        cut = noise_norm(2 * noise, *rows.shape)
        found = null_of(rows, cut) if len(i) else a.new_zeros(0, 0)
        spaces.append(torch.einsum("sm,mij->sij", found, trial))
    return spaces[0], spaces[1]
