"""Forwards that leave no trace in the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from lightning_symmetry.callbacks.features import recording
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


def make_look(
    f: Callable[[Any], Any], site: Site, features: Sequence[str]
) -> Callable[[Any], tuple[Any, Mapping[str, Any]]]:
    """Build what also tells what submodules said during a further forward.

    Args:
        f: As `make_second_pass` builds it.
        site: The tapped call.
        features: Dotted names below the network.
    """

    def look(x: Any) -> tuple[Any, Mapping[str, Any]]:
        with recording(site.module, features) as said:
            y = f(x)
        return y, said

    return look


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
