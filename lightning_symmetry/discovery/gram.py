"""`GeneratorGram`: everything that samples say of a set of candidate generators, in sums of constant size."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor
from torch import distributed as dist
from torchmetrics import Metric

from lightning_symmetry.differentiation import BACKENDS, Map
from lightning_symmetry.discovery.candidates import widen_group
from lightning_symmetry.discovery.doubts import question
from lightning_symmetry.discovery.solution import Solution, Sums, solve
from lightning_symmetry.discovery.system import (
    Equations,
    Rowed,
    is_pictorial,
    write_equations,
    write_null,
)
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import is_distributed
from lightning_symmetry.functional.hashing import mix_bits
from lightning_symmetry.paths import find_leaves, get_leaf
from lightning_symmetry.symmetry import Symmetry

FOLDS = 16


@final
class GeneratorGram(Metric):
    """Streams the system ``M_n theta = 0`` of `discover`: its Gram matrix and its normaliser, fold by fold.

    ``G = sum_n M_n^T M_n`` and ``D``, a few (P, P) matrices for P unknowns, however many samples come. A sample's fold
    follows from its content, so that the result depends neither on the order nor on the size of batches nor on the
    number of processes, up to rounding (the null, which pairs samples of one batch, does).

    Args:
        symmetry: Group of candidates and how it acts; a sentence or whatever `Symmetry.of` accepts. In place of a group
            that would be learnt, all that it could become are the candidates.
        backend: "auto", "jvp", "vjp" or "difference", see `differentiate`.
        folds: Of the jackknife.
        null: Whether to measure what derivatives paired with other samples show.
        sketch: Random combinations of the output, a sample, in place of all its numbers (one backward each); 0 for all.
        delta: Bound of `compute`: a direction is declared whose upper 95 % bound lies below.

    Raises:
        InvalidSetting: A setting is unknown, or there are too many unknowns.

    Cost: a forward and K + U tangents a batch for K candidates (U = 1 but for jets; images whose candidates are not the
    affine ones take 6 more), a quarter more for the null; or a backward for each number of the output. Memory: folds *
    (4 P^2) numbers.

    References:
        Moskalev et al., LieGG: Studying Learned Lie Group Generators, 2022; Otto et al., A unified framework to
        enforce, discover and promote symmetry, 2025, for the joint system.

    Example:
        >>> gram = GeneratorGram("GL(2) on vector -> scalar")
        >>> gram.update(lambda x: x.square().sum(1), torch.randn(64, 2, generator=torch.Generator().manual_seed(0)))
        >>> gram.read().spectrum.declared
        1
    """

    higher_is_better = None
    is_differentiable = False
    full_state_update = True

    def __init__(
        self,
        symmetry: Symmetry | str,
        backend: str = "auto",
        folds: int = FOLDS,
        null: bool = True,
        sketch: int = 0,
        delta: float = 0.1,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if backend not in BACKENDS:
            raise InvalidSetting(f"backend={backend!r}", f"one of {', '.join(BACKENDS)}", "Use 'auto'.")
        if folds < 4:
            raise InvalidSetting(f"folds={folds}", "at least 4", "Use the default, 16.")
        self.symmetry = widen_group(Symmetry.of(symmetry))
        self.folds, self.null, self.sketch = folds, null, sketch
        self.backend, self.delta = backend, delta
        self.layout: dict[str, tuple[int, ...]] = {}
        self.exact = False
        self._used = backend
        self.notes: tuple[str, ...] = ()
        self.sums: Tensor
        self.add_state("sums", torch.zeros(0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, f: Map, x: Any) -> None:
        """Add one batch.

        Args:
            f: The map, in evaluation mode, from an input structure of B samples to an output structure.
            x: Input structure.

        Raises:
            InvalidSetting: The data are not finite, or the output cannot be differentiated.
            AmbiguousPath, ActionMismatch, DimensionMismatch: They do not fit the symmetry.
        """
        symmetry = self.symmetry
        if any(leaf.ndim and not len(leaf) for leaf in find_leaves(x).values()):
            return
        symmetry.bind(x)
        if not symmetry.group.count:
            raise InvalidSetting(
                got=f"{symmetry.group.sentence}, which has no generators",
                expected="a group with a continuous part",
                remedy="Name candidates, such as GL, affine or polynomials(2).",
            )
        for path, _ in symmetry.input.moving:
            leaf = get_leaf(x, path)
            if leaf.is_floating_point() and not bool(leaf.isfinite().all()):
                raise InvalidSetting(
                    got=f"{int((~leaf.isfinite()).sum())} values at {path or 'the input'!r} that are NaN or infinite",
                    expected="finite data",
                    remedy="Clean the data; a symmetry cannot be read from it.",
                )
        f = symmetry.lift(f)
        if not self.sums.numel():
            self.notes = question(f, x, symmetry, self._used)
        equations = write_equations(f, x, symmetry, self._used, self.sketch)
        self._used = equations.backend
        found = self._collect(equations, "")
        if self.null:
            foreign = write_null(f, x, symmetry, self._used, self.sketch)
            other = {} if foreign is None else self._collect(foreign, "null ")
            for name in ("system", "moved", "inputs"):
                found[f"null {name}"] = other.get(f"null {name}", torch.zeros_like(found[name]))
        flat = torch.cat([part.flatten() for part in found.values()]).to(self.sums.device)
        if not bool(flat.sum().isfinite()):
            raise InvalidSetting(
                got="answers or derivatives that are NaN or infinite",
                expected="a map that is finite and differentiable on the data",
                remedy="Look at the map where it divides or takes roots, or use backend='difference'.",
            )
        layout = {name: tuple(part.shape) for name, part in found.items()}
        if not self.sums.numel():
            self.layout, self.sums = layout, torch.zeros_like(flat)
            self.exact = (
                all(get_leaf(x, p).dtype == torch.float64 for p, _ in symmetry.input.moving)
                and self._used != "difference"
            )
        elif layout != self.layout:
            raise InvalidSetting(
                got="a batch whose output has other parts than those before", expected="alike batches", remedy="Split."
            )
        self.sums = self.sums + flat

    def compute(self) -> dict[str, Tensor]:
        """Solve the eigenproblem of everything seen, on all devices, and give numbers to log.

        Returns:
            Those of `Spectrum.metrics`: how many generators, and the defect of every direction.

        Raises:
            InvalidSetting: Nothing was seen.
        """
        return {key: torch.tensor(value) for key, value in self._solve(self.delta).spectrum.metrics().items()}

    def read(self, delta: float | None = None) -> Solution:
        """Solve the eigenproblem of everything seen, on all devices.

        Args:
            delta: Another bound than the metric's own.

        Returns:
            The spectrum and the directions; `read_generators` turns them into a `Discovery`.

        Raises:
            InvalidSetting: Nothing was seen.
        """
        with self.sync_context(should_sync=is_distributed() and not self._is_synced):
            return self._solve(self.delta if delta is None else delta)

    def _solve(self, delta: float) -> Solution:
        if not self.sums.numel():
            raise InvalidSetting("no batch at all", "at least one", "Call update(f, x) first; look at the loader.")
        return solve(self._unpack(), self.symmetry, delta)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Agree on the size of the sums first: a process without batches does not know it."""
        if is_distributed() and not self._is_synced:
            known: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(known, (self.layout, self.exact))
            if not self.layout:
                self.layout, self.exact = next((one for one in known if one[0]), ({}, False))
                size = sum(math.prod(shape) for shape in self.layout.values())
                self.sums = torch.zeros(size, dtype=torch.float64, device=self.sums.device)
        super().sync(*args, **kwargs)

    def set_dtype(self, dst_type: Any) -> GeneratorGram:
        """Stay in double precision."""
        return self

    def _unpack(self) -> Sums:
        parts, start = {}, 0
        for name, shape in self.layout.items():
            size = math.prod(shape)
            parts[name] = self.sums[start : start + size].reshape(shape).cpu()
            start += size
        return Sums(parts, self.exact, is_pictorial(self.symmetry))

    def _collect(self, equations: Equations, prefix: str) -> dict[str, Tensor]:
        fold = (mix_bits(equations.keys) & ((1 << 62) - 1)) % self.folds
        answers, directions = equations.answers, equations.directions
        found = {
            "system": torch.stack([self._square(a.system, fold) for a in answers], 1),
            "moved": torch.stack([self._square(a.moved, fold) for a in answers], 1),
        }
        if is_pictorial(self.symmetry):
            # the affine warps stand in for the gain
            found["inputs"] = torch.stack([self._square(d, fold) for d in directions], 1)
        else:
            weighted = [self._square(d, fold, gain) for a in answers for gain in a.gains.unbind(1) for d in directions]
            size = len(answers), len(directions), len(directions)
            found["inputs"] = torch.stack(weighted, 1).unflatten(1, size)
        if prefix:
            return {prefix + name: part for name, part in found.items()}
        count = directions[0].rows.shape[1]
        pushed = [(a.system.rows + a.moved.rows)[:, :count] for a in answers]
        found["pushed"] = torch.stack([rows.mT @ rows for rows in pushed])
        found["samples"] = torch.bincount(fold, minlength=self.folds).double()
        found["points"] = torch.stack([_moments(p.rows) for p in equations.points])
        found["answers"] = torch.stack([_moments(a.values) for a in answers])
        found["gains"] = torch.stack([a.gains.sum(0) for a in answers])
        found["doubt"] = torch.stack(
            [
                fold.new_zeros(2).double()
                if a.doubt is None
                else torch.stack([a.doubt.sum(), a.doubt.new_tensor(1.0 * len(fold))])
                for a in answers
            ]
        )
        if equations.reference is not None:
            warped, warps = equations.reference
            found["warped"] = torch.stack([w.rows.mT @ w.rows for w in warped])
            found["warps"] = (warps @ warps.mT).sum(0)
        if equations.flow is not None:
            found["flow"] = (equations.flow @ equations.flow.mT).sum(0)
        return found

    def _square(self, part: Rowed, fold: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum the outer products of rows, fold by fold: (F, P, P)."""
        size, width = len(part.rows) // max(len(fold), 1), part.rows.shape[1]
        samples = torch.arange(len(fold), device=fold.device).repeat_interleave(size)
        if size >= width and torch.equal(part.owner, samples):
            # samples of many rows each
            rows = part.rows.unflatten(0, (len(fold), size))
            squares = rows.mT @ (rows if weights is None else rows * weights[:, None, None])
            return torch.zeros_like(squares[:1]).repeat(self.folds, 1, 1).index_add_(0, fold, squares)
        rows = part.rows if weights is None else part.rows * weights.sqrt()[part.owner].unsqueeze(1)
        home = fold[part.owner]
        order = home.argsort(stable=True)
        pieces = rows[order].split(torch.bincount(home, minlength=self.folds).tolist())
        return torch.stack([piece.mT @ piece for piece in pieces])


def _moments(values: Tensor) -> Tensor:
    return torch.stack([values.new_tensor(float(values.numel())), values.sum(), values.square().sum()])
