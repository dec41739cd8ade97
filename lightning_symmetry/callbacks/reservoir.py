"""Inputs kept for the verdict: held-out ones from validation, else recent ones from training."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_symmetry.callbacks.site import Site, patched_forward
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.rows import Rows

MAX_SAMPLES = 512
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Kept:
    """One input, with its size: measured once, since it is asked for in every step."""

    tree: dict[str, Any]
    rows: int
    bytes: int

    @classmethod
    def of(cls, x: dict[str, Any], leaves: dict[str, Tensor]) -> Kept:
        """Keep a structure with these leaves in place of its own."""
        rows = max((len(leaf) for leaf in leaves.values() if leaf.ndim), default=0)
        return cls(replace_leaves(x, leaves), rows, sum(t.numel() * t.element_size() for t in leaves.values()))


class Reservoir:
    """A bounded collection of the network's inputs.

    Args:
        samples: Rows from which on it is full; `MAX_SAMPLES` by default.
    """

    def __init__(self, samples: int | None = None) -> None:
        self._samples = MAX_SAMPLES if samples is None else samples
        self._training: list[Kept] = []
        self._validation: list[Kept] = []
        self._stack = ExitStack()

    @property
    def held_out(self) -> str:
        """What `collect` gives: "validation" or "training"."""
        return "validation" if self._validation else "training"

    def keep(self, x: dict[str, Any]) -> None:
        """Add one input of training and let the oldest go when there is too much; idle once there is validation."""
        if not self._validation:
            self._training.append(Kept.of(x, {path: leaf.detach().clone() for path, leaf in find_leaves(x).items()}))
            while len(self._training) > 1 and (self._fills(self._training[1:]) or _bytes(self._training) > MAX_BYTES):
                self._training.pop(0)

    def renew(self) -> None:
        """Forget the last round of validation: a new one begins."""
        self._validation = []

    @property
    def is_full(self) -> bool:
        """Whether no more of validation is wanted."""
        return self._fills(self._validation)

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The inputs one by one, those of validation where there are any."""
        return [one.tree for one in self._validation or self._training]

    def hold(self, x: dict[str, Any]) -> None:
        """Add one input of validation, already a copy, unless it is full."""
        if not self.is_full:
            self._validation.append(Kept.of(x, find_leaves(x)))
            self._training = []

    def watch(self, name: str, module: nn.Module) -> None:
        """Keep what a module is called with until `unwatch`."""
        if self.is_full:
            return

        def record(forward: Any, *args: Any, **kwargs: Any) -> Any:
            site = Site(name, module, forward)
            x = site.unpack(args, kwargs)
            # outside inference mode the verdict may differentiate, and the host may reuse its tensors
            with torch.inference_mode(False), torch.no_grad():
                self.hold(replace_leaves(x, {path: leaf.clone() for path, leaf in find_leaves(x).items()}))
            return forward(*args, **kwargs)

        self._stack.enter_context(patched_forward(module, lambda forward: functools.partial(record, forward)))

    def unwatch(self) -> None:
        """Put the module's forward back; harmless when nothing is watched."""
        self._stack.close()

    def collect(self) -> dict[str, Any] | None:
        """Everything kept as one structure, cut to its number of samples, of graphs the largest batch; or None."""
        kept = self._validation or self._training
        if not kept:
            return None
        trees = [one.tree for one in kept]
        first = trees[-1]
        if Rows.of(first).are_ragged:
            # joining or cutting graphs is for those who know what their indices mean
            return max(kept, key=lambda one: one.rows).tree
        alike = [tree for tree in trees if _shapes(tree) == _shapes(first)]
        paths = {path for path, leaf in find_leaves(first).items() if leaf.ndim}
        leaves = [find_leaves(tree) for tree in alike]
        joined = {path: torch.cat([tree[path] for tree in leaves])[: self._samples] for path in paths}
        return replace_leaves(first, joined)

    def _fills(self, kept: list[Kept]) -> bool:
        return sum(k.rows for k in kept) >= self._samples or _bytes(kept) > MAX_BYTES


def _shapes(tree: dict[str, Any]) -> list[tuple[str, torch.Size, torch.dtype]]:
    return [(path, leaf.shape[1:], leaf.dtype) for path, leaf in find_leaves(tree).items()]


def _bytes(kept: list[Kept]) -> int:
    return sum(k.bytes for k in kept)
