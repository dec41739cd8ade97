"""How wide a law can sensibly be."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_symmetry.groups import Group
from lightning_symmetry.samplers.base import Sampler

# Half-width of the published limit on full widths, 10: far beyond what any data can take.
LARGEST = 5.0
# On pictures: shifts by a quarter of the side either way, and factors between a half and two.
LARGEST_SHIFT, LARGEST_FACTOR = 0.5, math.log(2)


def width_bounds(group: Group, pictures: bool = False) -> Tensor:
    """Give the half-width of each generator from which on its law gains nothing.

    Half a turn either way for rotations at unit speed, L^3 = -L, which are back after a full turn. Anything else is
    bounded by 5, the half of the published limit; on pictures, which such widths would wipe out, translations by a
    quarter of the side and scalings, stretches and shears by a factor of two.

    Args:
        group: Bound to its dimension.
        pictures: Whether images are moved.

    Returns:
        (K,), on the device and in the type of the generators.

    Example:
        >>> from lightning_symmetry.groups import SE
        >>> [round(bound, 4) for bound in width_bounds(SE(2)).tolist()]
        [3.1416, 5.0, 5.0]
    """
    if not group.linear:
        return torch.full((group.count,), LARGEST)
    basis = group.basis().detach()
    if group.part("values") not in (None, group):
        bounds = basis.new_full((group.count,), LARGEST)
        for kind in ("space", "values"):
            place, part = group.columns(kind), group.part(kind)
            if part is not None:
                bounds[place] = torch.minimum(bounds[place], width_bounds(part, pictures).to(bounds))
        return bounds
    turns = (basis @ basis @ basis + basis).abs().amax((1, 2)) < 1e-4 * basis.abs().amax((1, 2))
    shifts = (basis[:, :-1, :-1] == 0).all(2).all(1) if group.affine else torch.zeros_like(turns)
    shift, factor = (LARGEST_SHIFT, LARGEST_FACTOR) if pictures else (LARGEST, LARGEST)
    return torch.where(turns, math.pi, torch.where(shifts, shift, factor)).to(basis)


def learns_widths(sampler: Sampler) -> bool:
    """Whether a law has widths that training can change."""
    return getattr(sampler, "raw_width", None) is not None


def limit_widths(sampler: Sampler, pictures: bool = False) -> None:
    """Bring learnt widths beyond their bounds back to them, in place; other laws are left alone.

    Args:
        sampler: Any law.
        pictures: Whether images are moved.
    """
    raw: Tensor | None = getattr(sampler, "raw_width", None)
    if raw is None or sampler.group is None:
        return
    with torch.no_grad():
        bounds = width_bounds(sampler.group, pictures).to(raw)
        # the inverse of softplus
        raw.clamp_(max=bounds + torch.log(-torch.expm1(-bounds)))
