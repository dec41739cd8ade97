"""`SymmetryMetric`: sums over samples, kept apart by fold, from which numbers and their standard errors follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torchmetrics import Metric

from lightning_symmetry.actions import Label, Mask
from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.distributed import is_distributed
from lightning_symmetry.functional.hashing import hash_rows, mix_bits
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.groups import Element, Group
from lightning_symmetry.groups.element import Kind
from lightning_symmetry.paths import find_leaves, get_leaf
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

Map = Callable[[Any], Any]


class SymmetryMetric(Metric, ABC):
    """Numbers that are smooth functions of means over samples, with jackknife standard errors.

    The state is one float64 table of sums, a row for each fold. Sums add, so that any number of devices, batches of any
    size and `merge_state` give the same numbers. The standard error of each is the grouped jackknife's,

    ``se^2 = 1/G sum_g (h_g T - (h_g - 1) T_-g - T_J)^2 / (h_g - 1)``, ``h_g = n / n_g``,

    where ``T_-g`` leaves fold g out and ``T_J`` is the jackknife's own estimate. `compute` returns a dictionary with
    each number and its error, under the same key with ``_se``.

    A shipped contract, ``lightning_symmetry.testing.MetricContract``, checks it.

    Args:
        folds: Number G of folds.

    Attributes:
        batches: Updates so far, which draws depend on.

    References:
        Busing, Meijer and van der Leeden, Delete-m jackknife for unequal m, 1999.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    sums: Tensor

    def __init__(self, folds: int = 16) -> None:
        super().__init__()
        if folds < 2:
            raise InvalidSetting(f"folds={folds}", "at least 2", "Standard errors compare folds; try 16.")
        self.folds = folds
        # a number, which adds to a table of any width: how wide it is, the first batch tells
        self.add_state("sums", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self._layout: dict[str, tuple[int, ...]] = {}
        self.batches = 0

    def summarise(self, sums: Mapping[str, Tensor], count: Tensor) -> dict[str, Tensor]:
        """Turn sums into the numbers that are reported: unless overridden, into means.

        Args:
            sums: Name to (L, ...), of L collections of samples.
            count: (L,), how many samples each has.

        Returns:
            Key to (L,).
        """
        return {name: value / count for name, value in sums.items()}

    @abstractmethod
    def update(self, *args: Any) -> None:
        """Add samples; finals say what they are."""

    def accumulate(self, values: Mapping[str, Tensor], folds: Tensor) -> None:
        """Add what was measured on samples.

        Args:
            values: Name to (B, ...), always of the same names and shapes.
            folds: (B,), whole numbers; see `assign_folds`.

        Raises:
            DimensionMismatch: The shapes are others than before.
        """
        layout = {name: tuple(value.shape[1:]) for name, value in values.items()}
        if self._layout and layout != self._layout:
            raise DimensionMismatch(
                got=f"{_describe(layout)}",
                expected=f"{_describe(self._layout)}, as in the batches before",
                remedy="Use outputs of one shape, or a metric for each.",
            )
        self._layout = layout
        rows = torch.cat([as_rows(value).double() for value in (torch.ones_like(folds), *values.values())], 1)
        table = rows.new_zeros(self.folds, rows.shape[1]).index_add(0, folds.to(rows.device) % self.folds, rows)
        self.sums = self.sums + table.to(self.sums.device)

    def compute(self) -> dict[str, Tensor]:
        """Give each number and, under its key with ``_se``, its standard error; NaN where fewer than two folds tell.

        Raises:
            InvalidSetting: Nothing was measured.
        """
        if self.sums.ndim == 0:
            raise InvalidSetting("no sample", "at least one", f"Call {type(self).__name__}.update before compute.")
        kept = self.sums[self.sums[:, 0] > 0]
        whole = kept.sum(0, keepdim=True)
        table = torch.cat((whole, whole - kept)) if len(kept) > 1 else whole
        count, rest = table[:, 0], table[:, 1:]
        parts = rest.split([_size(shape) for shape in self._layout.values()], 1)
        named = {n: p.unflatten(1, s) if s else p[:, 0] for (n, s), p in zip(self._layout.items(), parts, strict=True)}
        found: dict[str, Tensor] = {}
        for key, value in self.summarise(named, count).items():
            found[key] = value[0]
            found[f"{key}_se"] = _jackknife(value, kept[:, 0])
        return found

    @property
    def samples(self) -> int:
        """Number of samples on this device."""
        return 0 if self.sums.ndim == 0 else int(self.sums[:, 0].sum())

    def merge_state(self, incoming_state: Any) -> None:
        """Add another metric of this kind.

        Args:
            incoming_state: The metric, or its state.
        """
        if isinstance(incoming_state, SymmetryMetric):
            self._layout = self._layout or incoming_state._layout
        super().merge_state(incoming_state)

    def reset(self) -> None:
        """Begin anew, with the same draws."""
        super().reset()
        self.batches = 0

    def next_batch(self) -> tuple[int, int, int]:
        """Count a batch: its number, and the rank and number of processes."""
        self.batches += 1
        return (self.batches - 1, *((dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)))

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        if is_distributed():
            # a device that saw no sample has no table to add
            layouts: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(layouts, self._layout)
            self._layout = next((layout for layout in layouts if layout), {})
            if self._layout and self.sums.ndim == 0:
                width = 1 + sum(_size(shape) for shape in self._layout.values())
                self.sums = self.sums.new_zeros(self.folds, width)
        super()._sync_dist(*args, **kwargs)


def _jackknife(values: Tensor, sizes: Tensor) -> Tensor:
    """Standard error of ``values[0]`` from those that leave one fold of the given size out."""
    whole, left = values[0], values[1:]
    if len(left) < 2:
        return torch.full_like(whole, torch.nan)
    h = sizes.sum() / sizes
    pseudo = h * whole - (h - 1) * left
    estimate = len(left) * whole - ((1 - 1 / h) * left).sum()
    return ((pseudo - estimate).square() / (h - 1)).mean().sqrt()


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def _describe(layout: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} of shape {shape}" for name, shape in layout.items())


def assign_folds(x: Any, symmetry: Symmetry) -> Tensor:
    """Give every sample a whole number that depends on its content alone.

    Args:
        x: Input structure of B samples.
        symmetry: Bound to it; what it moves is looked at.

    Returns:
        (B,), int64, not negative.
    """
    rows, total = Rows.of(x), torch.zeros((), dtype=torch.int64)
    for path, _ in symmetry.input.moving:
        leaf = get_leaf(x, path)
        hashes, owner = hash_rows([leaf]), rows.owner(len(leaf), path)
        if rows.count is not None and owner is not None:
            hashes = hashes.new_zeros(rows.count).index_add(0, owner.to(hashes.device), hashes)
        total = mix_bits(total.to(hashes.device) + hashes)
    return total & (2**62 - 1)


@contextmanager
def measuring() -> Iterator[None]:
    """Keep what is made inside fit for training: no gradients, and outside inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def draw_elements(
    symmetry: Symmetry, x: Any, n: int | None, seed: int, batch: tuple[int, int, int]
) -> list[tuple[Element, Tensor]]:
    """Draw elements, or list those of a finite group.

    Args:
        symmetry: The law.
        x: Input structure of B samples.
        n: Draws a sample; None lists every element once.
        seed: Of the draws, which depend on it, the number of the batch and the global row alone.
        batch: See `SymmetryMetric.next_batch`.

    Returns:
        n pairs: an element for each sample, and weights (B,), which sum to 1 for each sample.

    Raises:
        InvalidSetting: All are asked for and there are too many.
    """
    drawn = symmetry.support(x) if n is None else symmetry.sample(x, n, Rng(seed, *batch))
    if drawn is None:
        raise InvalidSetting(
            f"n=None for {symmetry.group.sentence}", "a finite group or a frame", "Give the number of draws, n."
        )
    elements, weights = drawn
    count = weights.shape[1]
    return [(elements[slice(j, None, count)], weights[:, j]) for j in range(count)]


def measure_gap(g: Element, like: Tensor, kinds: Sequence[Kind] = ("space", "nodes")) -> Tensor:
    """Move unit vectors, unit signals on nodes or the value 1, and tell by how much.

    Args:
        g: B elements.
        like: A tensor on the same device.
        kinds: What is looked at.

    Returns:
        (B, m), float64; 0 for the identity.
    """
    gaps = []
    for part in map(g.part, kinds):
        if part is not None:
            units = torch.eye(part.dim, dtype=torch.float64, device=like.device)
            gaps.append(as_rows(part(units.expand(len(part), -1, -1)) - units))
    return torch.cat(gaps, 1) if gaps else torch.zeros(1, 1, device=like.device)


def add_term(values: dict[str, Tensor], name: str, term: Tensor) -> None:
    """Add to a named sum, which begins at 0."""
    values[name] = values[name] + term if name in values else term


def find_answers(y: Any, remedy: str) -> dict[str, Tensor]:
    """Find the tensors of an output that can be compared: floating point, with a row for each sample.

    Args:
        y: Output structure.
        remedy: What to do where there is none.

    Returns:
        Path to tensor.

    Raises:
        ActionMismatch: There is none.
    """
    outputs = {path: leaf for path, leaf in find_leaves(y).items() if leaf.is_floating_point() and leaf.ndim}
    if not outputs:
        raise ActionMismatch("no output with numbers for each sample", "at least one", remedy)
    return outputs


def has_classes(symmetry: Symmetry, path: str) -> bool:
    """Tell whether an output tells classes: logits, or anything whose largest entry along axis 1 counts.

    Args:
        symmetry: Bound to the output.
        path: Where it lies.
    """
    parts = symmetry.output.parts
    return any(isinstance(action, (Label, Mask)) and known in (None, path) for known, action in parts)


@contextmanager
def differentiating(symmetry: Symmetry, gradient: str | None) -> Iterator[None]:
    """Differentiate content on grids in one way for the body of a ``with``.

    Args:
        symmetry: Whose actions are told.
        gradient: "spectral", "central" or "bilinear"; None leaves each action its own.
    """
    grids = [a for side in (symmetry.input, symmetry.output) for _, a in side.parts if isinstance(a, GridAction)]
    before = [action.gradient for action in grids]
    for action in grids:
        action.gradient = gradient or action.gradient
    try:
        yield
    finally:
        for action, own in zip(grids, before, strict=True):
            action.gradient = own


def name_keys(names: Sequence[str] | None, group: Group, count: int) -> list[str]:
    """Give the generators their keys.

    Args:
        names: One a generator; None counts them.
        group: For the error.
        count: Number of generators.

    Raises:
        InvalidSetting: There is no generator, or not one name each.
    """
    if count == 0:
        raise InvalidSetting(
            f"{group.sentence}, which has no generators",
            "a group with a continuous part",
            "Use EquivarianceError, which draws elements.",
        )
    if names is not None and len(names) != count:
        raise InvalidSetting(f"{len(names)} names", f"{count}, one for each generator", "Leave them out, or add some.")
    return list(names) if names is not None else [f"generator_{k}" for k in range(count)]


def join_keys(key: str, path: str, paths: Sequence[str]) -> str:
    """Name a number of one leaf of the output: its path is left out where there is but one."""
    return key if len(paths) == 1 else f"{key}/{path}"
