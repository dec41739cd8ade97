"""While the host is evaluated, its network answers with the mean of its conjugated answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import nn

from lightning_symmetry.callbacks.site import Site, is_quiet, patched_forward
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetrization import average
from lightning_symmetry.symmetry import Symmetry

# Batches of one dataloader, and dataloaders, that are told apart from the next.
_MOST_BATCHES, _MOST_LOADERS = 2**32, 2**16


class Averaging:
    """Replaces a network's forward for one evaluation step and puts it back.

    f(x) becomes sum_j w_j rho_out(g_j^-1) f(rho_in(g_j) x), over draws of a law or over a whole finite group. Several
    symmetries are averaged one inside the other.

    Args:
        n: Draws a symmetry.
        seed: Of the draws, which depend on it, the batch, the dataloader and the global row alone.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self._stack = ExitStack()

    def start(
        self,
        name: str,
        network: nn.Module,
        symmetries: Sequence[Symmetry],
        complete: Callable[[Site, Any], None],
        place: tuple[int, int],
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Average until `stop`.

        Args:
            name: Dotted name of the network.
            network: Whose forward is replaced.
            symmetries: What is averaged over.
            complete: Completes the symmetries from a call, before anything is drawn.
            place: Number of the batch, and of its dataloader.
            rank: Of this process.
            world: Number of processes.
        """
        self.stop()
        # training counts from 0 upwards; an average copies its source, so that several symmetries need one each
        first = -1 - place[0] - place[1] * _MOST_BATCHES
        sources = [
            Rng(self.seed, first - i * _MOST_LOADERS * _MOST_BATCHES, rank, world) for i in range(len(symmetries))
        ]

        def answer(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if is_quiet():
                return forward(*args, **kwargs)
            site = Site(name, network, forward)
            x = site.unpack(args, kwargs)
            complete(site, x)

            def call(x: Any) -> Any:
                args, kwargs = site.pack(x)
                return forward(*args, **kwargs)

            averaged: Callable[[Any], Any] = call
            for symmetry, rng in zip(symmetries, sources, strict=True):
                averaged = average(averaged, symmetry, self.n, rng)
            return averaged(x)

        self._stack.enter_context(patched_forward(network, lambda forward: functools.partial(answer, forward)))

    def stop(self) -> None:
        """Put the forward back; harmless when nothing was replaced."""
        self._stack.close()
