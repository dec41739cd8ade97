"""Forwards that leave no trace in the host, and penalties that ride on an output's gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_symmetry.callbacks.site import Site, quiet


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
    bare = _Bare(site)

    def run(x: Any) -> Any:
        args, kwargs = site.pack(x)
        buffers = {name: buffer.clone() for name, buffer in bare.named_buffers()}
        with quiet(), before.replayed(), _attributes_kept(site.module):
            return functional_call(bare, buffers, args, kwargs) if buffers else site.forward(*args, **kwargs)

    return run


class _Bare(nn.Module):
    """The network's forward without the hooks around it, which have already acted on what the tap sees."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.network, self._site = site.module, site

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._site.forward(*args, **kwargs)


@contextmanager
def _attributes_kept(module: nn.Module) -> Iterator[None]:
    """Put back what a forward notes on the modules, such as attention maps for an auxiliary loss."""
    saved = [(vars(child), dict(vars(child))) for child in module.modules()]
    try:
        yield
    finally:
        for now, then in saved:
            for key in now.keys() - then.keys():
                del now[key]
            now.update({key: value for key, value in then.items() if key not in now or now[key] is not value})


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
