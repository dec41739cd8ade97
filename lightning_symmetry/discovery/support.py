"""Where moved samples land: on data, or beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import mean_over_ranks
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.symmetry import Symmetry


def support_coverage(x: Tensor, moved: Tensor, quantile: float = 0.95) -> float:
    """Share of moved samples that land where there are data.

    A moved sample is covered when its nearest data point is no farther than the 95 % quantile of the distances between
    data points and their own nearest neighbours. What is not covered, the data can neither confirm nor refute: there
    the symmetry is the network's extrapolation.

    Args:
        x: (N, ...) data, at least two.
        moved: (M, ...) transformed data.
        quantile: Of the leave-one-out distances.

    Returns:
        In [0, 1], over the moved samples of all ranks, each compared with its own rank's data.

    Cost: N (N + M) distances.

    Example:
        >>> support_coverage(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.5], [9.0]]))
        0.5
    """
    data, images = (as_rows(t.detach()).to(torch.promote_types(t.dtype, torch.float32)) for t in (x, moved))
    if len(data) < 2:
        raise InvalidSetting(f"{len(data)} samples", "at least two, to know how dense they lie", "Give more data.")
    # a sample that was kept twice says nothing of how dense they lie
    data = data.unique(dim=0)
    own = _distances(data, data)
    own.fill_diagonal_(math.inf)
    reach = own.amin(1).quantile(quantile) if len(data) > 1 else own.new_zeros(())
    # rounding must not expel a sample that was moved onto another one
    near = _distances(images, data).amin(1) <= reach * (1 + 1e-4) + 1e-6 * data.abs().amax()
    return float(mean_over_ranks(near.sum().float(), len(images)))


def draw_moved(x: Any, symmetry: Symmetry, active: Sequence[int], seed: int = 0) -> Any:
    """Move every sample along one of some generators, by a coefficient uniform in the law's width.

    Args:
        x: Input structure.
        symmetry: Bound to it.
        active: Indices of the generators that take part; at least one.
        seed: Of the draws, which do not depend on torch's global generator.

    Returns:
        An input structure of as many rows.
    """
    leading = symmetry.leading(x)
    rows = len(leading)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.tensor(list(active))[torch.randint(len(active), (rows,), generator=generator)]
    widths = symmetry.sampler.widths.detach().cpu()[chosen]
    t = torch.zeros(rows, symmetry.group.count)
    t[torch.arange(rows), chosen] = (2 * torch.rand(rows, generator=generator) - 1) * widths
    with torch.no_grad():
        return symmetry.move_input(symmetry.group.exp(t.to(leading.device)), x)


def flatten_moving(x: Any, symmetry: Symmetry) -> Tensor:
    """Lay all moving parts of an input side by side: (B, D), or (R, D) for those of the first part's nodes."""
    leaves = [get_leaf(x, path) for path, _ in symmetry.input.moving]
    return torch.cat([as_rows(leaf) for leaf in leaves if len(leaf) == len(leaves[0]) and leaf.is_floating_point()], 1)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # the matrix-product shortcut loses small distances between far points
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
