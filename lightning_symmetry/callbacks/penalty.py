"""How a penalty reaches the host's backward: in the returned loss, or riding on an output's gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.exceptions import NoGradient
from lightning_symmetry.paths import find_leaves, replace_leaves


def add_to_loss(output: Any, penalty: Tensor) -> Any:
    """Add a penalty to what a training step returned (automatic optimization).

    Args:
        output: A loss, or a mapping with one, which is kept with all that it holds.
        penalty: A scalar.

    Returns:
        The same kind of thing.

    Raises:
        NoGradient: There is no loss in it.
    """
    if isinstance(output, Tensor):
        return output + penalty.to(output.device)
    if isinstance(output, MutableMapping) and "loss" in output:
        output["loss"] = output["loss"] + penalty.to(output["loss"].device)
        return output
    raise NoGradient(
        got=f"a training step that returned {type(output).__name__}",
        expected="a loss tensor, a dict with 'loss', or None",
        remedy="Return the loss, or set automatic_optimization = False and step by hand.",
    )


def ride_on_output(y: Any, penalty: Tensor, scale: Callable[[], float], name: str) -> Any:
    """Make whoever differentiates an output differentiate the penalty with it (manual optimization).

    Args:
        y: Output of the network.
        penalty: A scalar.
        scale: What the host's loss will be multiplied by.
        name: Of the network, for the message.

    Returns:
        The same output, tied to the penalty.

    Raises:
        NoGradient: Nothing in the output has a gradient.
    """
    leaves = {path: leaf for path, leaf in find_leaves(y).items() if leaf.requires_grad}
    if leaves:
        return replace_leaves(y, inject_penalty(leaves, penalty, scale))
    raise NoGradient(
        got=f"an output of {name!r} without gradient, under manual optimization",
        expected="an output that the training step differentiates",
        remedy="The penalty rides on the output's gradient; name a network that is trained with module=.",
    )


def inject_penalty(leaves: Mapping[str, Tensor], penalty: Tensor, scale: Callable[[], float]) -> dict[str, Tensor]:
    """Return outputs unchanged, such that the first backward through them also sends ``scale()`` into the penalty.

    This adds a loss where the training step returns none (manual optimization): whoever differentiates a loss of the
    outputs differentiates the penalty with it, once. Gradients that are taken to be differentiated again
    (``create_graph=True``: forces, gradient penalties) are quantities of the host's own and stay as they are.

    Args:
        leaves: The tensors of one output that carry a gradient.
        penalty: A scalar.
        scale: What it is multiplied by, asked when the backward runs.
    """
    spent: list[bool] = []
    return {path: _Inject.apply(leaf, penalty, scale, spent) for path, leaf in leaves.items()}


class _Inject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, penalty: Tensor, scale: Callable[[], float], spent: list[bool]) -> Tensor:
        ctx.scale, ctx.spent, ctx.like = scale, spent, penalty.detach()
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        if ctx.spent or torch.is_grad_enabled():
            # not None: an undefined gradient trips functions written in Python
            return gradient, torch.zeros_like(ctx.like), None, None
        ctx.spent.append(True)
        return gradient, torch.full_like(ctx.like, float(ctx.scale())), None, None
