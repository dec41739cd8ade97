"""Inputs kept for the verdict: held-out ones from validation, else recent ones from training."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from lightning_symmetry.callbacks.tap import Site, patched_forward
from lightning_symmetry.paths import find_leaves, replace_leaves

MAX_SAMPLES = 512
MAX_BYTES = 64 * 2**20


class Reservoir:
    """A bounded collection of the network's inputs."""

    def __init__(self) -> None:
        self.held_out = "training"
        self._trees: list[dict[str, Any]] = []
        self._stack = ExitStack()

    def keep(self, x: dict[str, Any]) -> None:
        """Add one input structure and let the oldest go when there is too much."""
        tree = replace_leaves(x, {path: leaf.detach() for path, leaf in find_leaves(x).items()})
        self._trees.append(tree)
        while len(self._trees) > 1 and (_count_rows(self._trees[1:]) >= MAX_SAMPLES or self._bytes() > MAX_BYTES):
            self._trees.pop(0)

    def renew(self) -> None:
        """Forget everything: a new round of validation begins."""
        self._trees, self.held_out = [], "validation"

    def watch(self, name: str, module: nn.Module) -> None:
        """Keep what a module is called with until `unwatch`."""
        if _count_rows(self._trees) >= MAX_SAMPLES or self._bytes() > MAX_BYTES:
            return

        def record(forward: Any, *args: Any, **kwargs: Any) -> Any:
            site = Site(name, module, forward)
            x = site.unpack(args, kwargs)
            # outside inference mode the verdict may differentiate, and the host may reuse its tensors
            with torch.inference_mode(False), torch.no_grad():
                self.keep(replace_leaves(x, {path: leaf.clone() for path, leaf in find_leaves(x).items()}))
            return forward(*args, **kwargs)

        self._stack.enter_context(patched_forward(module, lambda forward: functools.partial(record, forward)))

    def unwatch(self) -> None:
        """Put the module's forward back; harmless when nothing is watched."""
        self._stack.close()

    def collect(self) -> dict[str, Any] | None:
        """Everything kept as one structure of at most `MAX_SAMPLES` rows, or None."""
        if not self._trees:
            return None
        first = self._trees[-1]
        alike = [tree for tree in self._trees if _shapes(tree) == _shapes(first)]
        paths = {path for path, leaf in find_leaves(first).items() if leaf.ndim}
        leaves = [find_leaves(tree) for tree in alike]
        return replace_leaves(
            first, {path: torch.cat([tree[path] for tree in leaves])[:MAX_SAMPLES] for path in paths}
        )

    def _bytes(self) -> int:
        return sum(t.numel() * t.element_size() for tree in self._trees for t in find_leaves(tree).values())


def _shapes(tree: dict[str, Any]) -> list[tuple[str, torch.Size, torch.dtype]]:
    return [(path, leaf.shape[1:], leaf.dtype) for path, leaf in find_leaves(tree).items()]


def _count_rows(trees: list[dict[str, Any]]) -> int:
    return sum(max((len(leaf) for leaf in find_leaves(tree).values() if leaf.ndim), default=0) for tree in trees)

