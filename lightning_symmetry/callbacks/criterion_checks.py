"""What has to hold of a criterion whose losses of single samples are compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.callbacks.criterion import Criterion
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.rows import Rows

_ROUNDING = 1e-4


def demand_separate(criterion: Criterion, answer: Any, batch: Any, samples: int, rows: Rows) -> None:
    """Demand losses >= 0, each of which depends on the answer to one sample alone.

    Raises:
        InvalidSetting: They are not, or do not.
    """
    losses = criterion.per_sample(answer, batch, samples, rows)
    if bool((losses < -_ROUNDING).any()):
        raise InvalidSetting(
            got=f"the criterion {criterion.name!r}, which gives {float(losses.min()):.4g} for a sample",
            expected="losses >= 0, in proportion to which transformations are drawn",
            remedy="Name another loss with criterion=, such as the squared error.",
        )
    order = torch.arange(samples, device=losses.device)
    for others in (order == 0, order == samples - 1, order < samples // 2):
        changed = criterion.per_sample(_disturb(answer, others, rows), batch, samples, rows)
        if not agree(changed[~others], losses[~others]):
            raise InvalidSetting(
                got=f"the criterion {criterion.name!r}, where the loss of one sample depends on answers to others",
                expected="a loss that compares every sample with its own target",
                remedy="Name another loss with criterion=; contrastive losses have no values of single samples.",
            )


def _disturb(answer: Any, mask: Tensor, rows: Rows) -> Any:
    """Change the answers to some samples."""
    changed = {}
    for path, leaf in find_leaves(answer).items():
        if leaf.ndim and leaf.is_floating_point() and (rows.are_ragged or len(leaf) == len(mask)):
            chosen = rows.choose(mask, len(leaf), path).to(leaf.device).view(-1, *[1] * (leaf.ndim - 1))
            other = torch.arange(leaf.numel(), device=leaf.device).view_as(leaf).cos().to(leaf)
            changed[path] = torch.where(chosen, leaf / 2 + other / 4, leaf)
    return replace_leaves(answer, changed)


def agree(a: Any, b: Any) -> bool:
    """Tell whether two arguments are alike, up to rounding; what is no tensor is taken to be."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return isinstance(a, Tensor) == isinstance(b, Tensor)
    if a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return bool((a == b).all())
    return torch.allclose(a.float(), b.float(), rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True)
