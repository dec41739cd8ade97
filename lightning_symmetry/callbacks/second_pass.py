"""Forwards that leave no trace in the host, and penalties that ride on an output's gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from lightning_symmetry.callbacks.tap import Site, quiet


class RandomState:
    """The global random state at one moment, on the CPU and on the device in use.

    Args:
        device: Where the network runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        """Put the global generators back to this moment."""
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self.device)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw inside what was drawn from this moment on, and leave the generators as they were before."""
        now = RandomState(self.device)
        self.restore()
        try:
            yield
        finally:
            now.restore()


def make_second_pass(site: Site, before: RandomState) -> Callable[[Any], Any]:
    """Build f for further forwards: same parameters, same dropout masks, cloned buffers.

    Batch-norm therefore normalises each pass by its own batch but its running statistics see the host's pass alone.

    Args:
        site: The tapped call.
        before: Random state before the host's own forward.
    """

    def run(x: Any) -> Any:
        args, kwargs = site.pack(x)
        buffers = {name: buffer.clone() for name, buffer in site.module.named_buffers()}
        with quiet(), before.replayed():
            if not buffers:
                return site.forward(*args, **kwargs)
            return functional_call(site.module, buffers, args, kwargs)

    return run


def inject_penalty(y: Tensor, penalty: Tensor, scale: Callable[[], float]) -> Tensor:
    """Return y unchanged, such that the first backward through it also sends ``scale()`` into the penalty.

    This adds a loss where the training step returns none (manual optimization): whoever differentiates a loss of y
    differentiates the penalty with it, once.
    """
    return _Inject.apply(y, penalty, scale)


class _Inject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, penalty: Tensor, scale: Callable[[], float]) -> Tensor:
        ctx.scale, ctx.shape, ctx.spent = scale, penalty.shape, False
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        if ctx.spent:
            return gradient, None, None
        ctx.spent = True
        return gradient, torch.full(ctx.shape, float(ctx.scale()), device=gradient.device), None
