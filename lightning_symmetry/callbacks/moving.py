"""The task's own forward on moved inputs, with the output moved back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.subclasses import dress
from lightning_symmetry.groups import Element
from lightning_symmetry.losses import Call
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry


def stand_still(symmetry: Symmetry, x: Any, views: int, rng: Rng) -> tuple[Element, Tensor]:
    """Draw the identity: data for comparison that go the same way as moved ones, resampling included.

    Args:
        symmetry: How the element would act.
        x: The input structure.
        views: Elements a sample.
        rng: Source of randomness, which says how many there are.

    Returns:
        As many elements and weights as `Symmetry.sample`.
    """
    with torch.no_grad():
        g, weights = symmetry.sample(x, views, rng)
        return symmetry.group.exp(weights.new_zeros(len(g), symmetry.group.count)), weights


def draw_nothing(leading: Tensor) -> tuple[None, Tensor]:
    """Draw no element a sample, for losses that look at none.

    Args:
        leading: (B, ...), a row for each sample.
    """
    return None, leading.new_zeros(len(leading), 0, dtype=torch.promote_types(leading.dtype, torch.float32))


def forward_moved(
    site: Site, x: Any, symmetries: Sequence[Symmetry], elements: Sequence[Element], mask: Tensor | None
) -> Any:
    """Call the network once, on inputs that are moved by all elements in turn.

    Args:
        site: The tapped call.
        x: Its input structure, of B samples.
        symmetries: How the elements act.
        elements: B elements a symmetry.
        mask: (B,), which samples are moved; None for all.

    Returns:
        The network's answer.
    """
    moved = x
    for symmetry, g in zip(symmetries, elements, strict=True):
        moved = symmetry.move_input(g, moved)
    args, kwargs = site.pack(select_rows(mask, moved, x, Rows.of(x)))
    return site.forward(*args, **kwargs)


def move_back(
    y: Any, symmetries: Sequence[Symmetry], elements: Sequence[Element], mask: Tensor | None, rows: Rows
) -> Any:
    """Undo on the output what `forward_moved` did to the input, whose rows are given: together, the conjugate."""
    back = y
    for symmetry, g in reversed(list(zip(symmetries, elements, strict=True))):
        back = symmetry.move_output(~g, back, rows)
    return select_rows(mask, back, y, rows)


def blend_moved(call: Call, mask: Tensor | None) -> Any:
    """Replace samples of the task's output by the conjugate's, from the forward that the losses have paid for."""
    back = call.symmetry.move_output(~call.views[0].g, call.answers[0], call.rows)
    return select_rows(mask, back, call.y, call.rows)


def select_rows(mask: Tensor | None, moved: Any, still: Any, rows: Rows) -> Any:
    """Take the moved samples where the mask says so, leaf by leaf; None takes all."""
    if mask is None:
        return moved
    changed = {p: leaf for p, leaf in find_leaves(moved).items() if leaf.ndim and leaf is not get_leaf(still, p)}
    taken = {}
    for path, leaf in changed.items():
        chosen = rows.choose(mask, len(leaf), path).to(leaf.device).view(-1, *[1] * (leaf.ndim - 1))
        taken[path] = dress(torch.where(chosen, leaf, get_leaf(still, path)), leaf)
    return replace_leaves(still, taken)
