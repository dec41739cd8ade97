"""The task's own forward on moved inputs, with the output moved back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.groups import Element
from lightning_symmetry.losses import Call
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.symmetry import Symmetry


def forward_moved(
    site: Site, x: Any, symmetries: Sequence[Symmetry], elements: Sequence[Element], rows: Tensor | None
) -> Any:
    """Call the network once, on inputs that are moved by all elements in turn.

    Args:
        site: The tapped call.
        x: Its input structure, of B rows.
        symmetries: How the elements act.
        elements: B elements a symmetry.
        rows: (B,) mask of the rows that are moved; None for all.

    Returns:
        The network's answer.
    """
    moved = x
    for symmetry, g in zip(symmetries, elements, strict=True):
        moved = symmetry.move_input(g, moved)
    args, kwargs = site.pack(select_rows(rows, moved, x))
    return site.forward(*args, **kwargs)


def move_back(y: Any, symmetries: Sequence[Symmetry], elements: Sequence[Element], rows: Tensor | None) -> Any:
    """Undo on the output what `forward_moved` did to the input: together they are the conjugate."""
    back = y
    for symmetry, g in reversed(list(zip(symmetries, elements, strict=True))):
        back = symmetry.move_output(~g, back)
    return select_rows(rows, back, y)


def blend_moved(call: Call, rows: Tensor | None) -> Any:
    """Replace rows of the task's output by the conjugate's, from the forward that the losses have paid for."""
    back = call.symmetry.move_output(~call.views[0].g, call.answers[0])
    return select_rows(rows, back, call.y)


def select_rows(rows: Tensor | None, moved: Any, still: Any) -> Any:
    """Take the moved rows where the mask says so, leaf by leaf; None takes all."""
    if rows is None:
        return moved
    leaves = find_leaves(moved)
    changed = {path: leaf for path, leaf in leaves.items() if leaf is not get_leaf(still, path)}
    return replace_leaves(
        still,
        {
            path: torch.where(rows.to(leaf.device).view(-1, *[1] * (leaf.ndim - 1)), leaf, get_leaf(still, path))
            for path, leaf in changed.items()
        },
    )
