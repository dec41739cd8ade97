"""Answers to some samples of a batch, moved by families: in one pass, without gradient and without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.callbacks.moving import select_rows
from lightning_symmetry.callbacks.second_pass import RandomState, make_second_pass
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.subclasses import dress, undress
from lightning_symmetry.methods.dual.family import Family
from lightning_symmetry.paths import describe_leaves, find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

MOST = 2
"""Rows of one pass without gradient, in batches."""


@final
@dataclass(frozen=True, eq=False)
class Group:
    """Samples that one family moves.

    Args:
        family: None leaves them as they are.
        moves: Of all B samples of the batch.
        rows: (n,), which samples.
    """

    family: Family | None
    moves: Any
    rows: Tensor


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """An input of B samples, of which some are taken, moved and put back.

    Args:
        x: Input structure.
        samples: Their number B.
        rows: Which of them every row of a tensor belongs to; of graphs nothing is taken out, all are moved.
    """

    x: Any
    samples: int
    rows: Rows

    @classmethod
    def of(cls, x: Any, symmetries: Sequence[Symmetry]) -> Batch:
        """Count the samples of an input.

        Args:
            x: Input structure.
            symmetries: That know where the data lie; without any it is images.
        """
        rows = Rows.of(x)
        if rows.count is not None:
            return cls(x, rows.count, rows)
        if len(symmetries):
            return cls(x, len(symmetries[0].leading(x)), rows)
        return cls(x, len(next(leaf for leaf in find_leaves(x).values() if leaf.ndim == 4)), rows)

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return next(iter(find_leaves(self.x).values())).device

    def move(self, groups: Sequence[Group]) -> Any:
        """Move every group's samples, which are in no other group."""
        moved = self.x
        for group in groups:
            if group.family is not None and len(group.rows):
                moved = self._change(moved, group, group.family.move)
        return moved

    def move_back(self, groups: Sequence[Group], y: Any) -> Any:
        """Undo on the answer what moving did to its samples."""

        def back(family: Family) -> Callable[[Any, Any], Any]:
            return lambda moves, part: family.back(moves, part, self.rows)

        for group in groups:
            if group.family is not None and group.family.moves_output and len(group.rows):
                y = self._change(y, group, back(group.family))
        return y

    def answer(self, f: Callable[[Any], Any], groups: Sequence[Group]) -> list[Any]:
        """Answer every group's moved samples, moved back, as if the others had been there too.

        Args:
            f: The network.
            groups: Each on its own, whatever samples others have.

        Returns:
            One output structure a group, of B samples; what stands for samples outside the group means nothing.

        Raises:
            DimensionMismatch: The network's answers do not have one row a sample.
        """
        if self.rows.are_ragged:
            return [self.move_back([group], f(self.move([group]))) for group in groups]
        answers: list[Any] = []
        for some in self._pack(groups):
            parts = [self._move_alone(group) for group in some]
            sizes = [len(group.rows) for group in some]
            y = f(_join(parts, sizes))
            for group, lo, hi in zip(some, _starts(sizes), _ends(sizes), strict=True):
                part = _take(y, slice(lo, hi), sum(sizes))
                if group.family is not None:
                    part = group.family.back(group.moves[group.rows], part, self.rows)
                answers.append(self._fill(part, group.rows))
        return answers

    def _pack(self, groups: Sequence[Group]) -> Iterator[list[Group]]:
        """Cut into passes of bounded size."""
        some: list[Group] = []
        for group in groups:
            if some and sum(len(one.rows) for one in [*some, group]) > MOST * self.samples:
                yield some
                some = []
            some.append(group)
        if some:
            yield some

    def _move_alone(self, group: Group) -> Any:
        part = _take(self.x, group.rows, self.samples)
        return part if group.family is None else group.family.move(group.moves[group.rows], part)

    def _fill(self, part: Any, rows: Tensor) -> Any:
        filled = {}
        for path, leaf in find_leaves(part).items():
            if leaf.ndim and len(leaf) == len(rows):
                filled[path] = leaf.new_zeros(self.samples, *leaf.shape[1:]).index_copy(0, rows.to(leaf.device), leaf)
        if not filled:
            raise DimensionMismatch(
                got=f"an answer to {len(rows)} samples of {describe_leaves(part)}",
                expected="tensors whose first axis are the samples",
                remedy="Let the network give the batch first, as with batch_first=True.",
            )
        return replace_leaves(part, filled)

    def _change(self, tree: Any, group: Group, change: Callable[[Any, Any], Any]) -> Any:
        """Replace one group's samples in a structure."""
        if self.rows.are_ragged:
            mask = torch.zeros(self.samples, dtype=torch.bool).index_fill(0, group.rows.cpu(), True)
            return select_rows(mask, change(group.moves, tree), tree, self.rows)
        part = _take(tree, group.rows, self.samples)
        changed = change(group.moves[group.rows], part)
        put = {}
        for path, leaf in find_leaves(changed).items():
            whole = get_leaf(tree, path)
            if leaf is not get_leaf(part, path):
                plain = undress(whole).index_copy(0, group.rows.to(leaf.device), undress(leaf).to(whole.dtype))
                put[path] = dress(plain, whole)
        return replace_leaves(tree, put)


@contextmanager
def scoring(site: Site, before: RandomState) -> Iterator[Callable[[Any], Any]]:
    """Lend the network out in evaluation mode and without gradient: running statistics and masks do not matter.

    Args:
        site: The tapped call.
        before: Random state before the host's own forward.
    """
    modes = [(module, module.training) for module in site.module.modules()]
    site.module.eval()
    try:
        with torch.no_grad():
            yield make_second_pass(site, before)
    finally:
        for module, training in modes:
            module.training = training


def _take(tree: Any, rows: Tensor | slice, samples: int) -> Any:
    """Take rows out of every tensor that has one a sample."""
    taken = {}
    for path, leaf in find_leaves(tree).items():
        if leaf.ndim and len(leaf) == samples:
            index = rows.to(leaf.device) if isinstance(rows, Tensor) else rows
            taken[path] = dress(undress(leaf)[index], leaf)
    return replace_leaves(tree, taken)


def _join(parts: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Lay structures one after the other."""
    leaves = [find_leaves(part) for part in parts]
    joined = {}
    for path, first in leaves[0].items():
        if first.ndim and len(first) == sizes[0]:
            joined[path] = dress(torch.cat([undress(one[path]) for one in leaves]), first)
    return replace_leaves(parts[0], joined)


def _starts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _ends(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[: i + 1]) for i in range(len(sizes))]
