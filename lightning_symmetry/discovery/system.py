"""The linear system that a symmetry satisfies, sample by sample: its rows and its normaliser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Label, Representation, StillAction
from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.differentiation import Map, Pullback, differentiate, pair
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.fisher import doubt, fisher_columns, score_cotangent
from lightning_symmetry.functional.hashing import hash_rows, hashed_normals, mix_bits
from lightning_symmetry.functional.precision import full_precision
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.groups import Affine
from lightning_symmetry.paths import describe_leaves, find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetrization import input_tangents
from lightning_symmetry.symmetry import Symmetry

MOST_UNKNOWNS = 1024
# One sample in four pairs its derivative with another's point: a reference needs no more.
NULL_SHARE = 4


@final
@dataclass(frozen=True, eq=False)
class Rowed:
    """Rows of numbers, each of one sample.

    Args:
        rows: (N, P), float64.
        owner: (N,) which sample each belongs to.
    """

    rows: Tensor
    owner: Tensor


@final
@dataclass(frozen=True, eq=False)
class Answer:
    """What one leaf of the output says of P unknowns, of which the first K belong to the group.

    Args:
        system: Rows ``J zeta_p - omega_p``, then ``-omega_r`` of a learnt action; all of them vanish on a symmetry.
        moved: Rows ``omega``: how the output would move.
        gains: (B, U), ``|J_u|^2`` over the number of coordinates of a sample, for each unit of the input.
        values: (N, m) the numbers that are compared.
        doubt: (B,) 1 - max p of class probabilities; None for other outputs.
    """

    system: Rowed
    moved: Rowed
    gains: Tensor
    values: Tensor
    doubt: Tensor | None


@final
@dataclass(frozen=True, eq=False)
class Equations:
    """The system of one batch of B samples.

    Args:
        answers: One for each leaf of the output.
        directions: The candidates on the data, for each unit of the input.
        points: The data themselves, for each unit.
        keys: (B,) hashes of the samples.
        flow: (B, K + 1, n): the candidates, and after them the motion of a vector field; None for other maps.
        reference: For images, the six affine warps: how each output answers them, and themselves (B, 6, n).
        backend: By which the derivatives were taken.
    """

    answers: list[Answer]
    directions: list[Rowed]
    points: list[Rowed]
    keys: Tensor
    flow: Tensor | None
    reference: tuple[list[Rowed], Tensor] | None
    backend: str


@dataclass(frozen=True)
class Unit:
    """Coordinates of the input that can be compared: a whole leaf, or one column of it."""

    path: str
    column: int | None

    def take(self, t: Tensor) -> Tensor:
        """Select its coordinates of a leaf (..., n)."""
        return t if self.column is None else t[..., self.column : self.column + 1]


def list_units(x: Any, symmetry: Symmetry) -> list[Unit]:
    """List the units of the moving parts of an input."""
    units = []
    for path, action in symmetry.input.moving:
        leaf = get_leaf(x, path)
        if leaf.is_floating_point():
            units += [Unit(path, i) for i in range(leaf.shape[-1])] if action.mixes_units else [Unit(path, None)]
    return units


def count_unknowns(symmetry: Symmetry) -> dict[str, int]:
    """Count the unknowns of learnt output actions, D^2 for each; the group's come before them.

    Args:
        symmetry: Bound to both sides.

    Returns:
        Path to count.

    Raises:
        InvalidSetting: There are too many to solve for.
    """
    free = {
        path: (size := action.generators().shape[-1]) * (size - action.translates)
        for path, action in symmetry.output.moving
        if isinstance(action, Representation)
    }
    total = symmetry.group.count + sum(free.values())
    if total > MOST_UNKNOWNS:
        raise InvalidSetting(
            got=f"{total} unknowns ({symmetry.group.sentence} has {symmetry.group.count})",
            expected=f"at most {MOST_UNKNOWNS}",
            remedy="Share one matrix over the parts of a sample (points, vector(d)), or name a smaller group.",
        )
    return free


def is_pictorial(symmetry: Symmetry) -> bool:
    """Whether images move, whose pixels are no independent coordinates."""
    return any(isinstance(action, GridAction) for _, action in symmetry.input.moving)


def write_equations(f: Map, x: Any, symmetry: Symmetry, backend: str = "auto", sketch: int = 0) -> Equations:
    """Write down what every sample says of the candidates.

    For coefficients a of the group and matrices b of learnt output actions, a map has the symmetry exactly when
    ``J(x) zeta_a(x) = omega_a(f(x)) + b f(x)`` at every sample.

    Args:
        f: The map, already lifted (`Symmetry.lift`).
        x: Input structure of B samples.
        symmetry: Bound to it; its group's generators are the candidates.
        backend: Of `differentiate`.
        sketch: Random combinations of the output, a sample, in place of all its numbers; 0 for all. Reverse mode.

    Returns:
        The equations.

    Raises:
        InvalidSetting: The output has no floating-point numbers, or there are too many unknowns.
    """
    tangents = input_tangents(x, symmetry)
    if not is_pictorial(symmetry):
        warps = {}
    elif isinstance(symmetry.group, Affine) and all(
        isinstance(action, GridAction) for _, action in symmetry.input.moving
    ):
        # the candidates are the warps themselves
        warps = tangents
    else:
        warps = reference_warps(x, symmetry)
    return _write(f, x, symmetry, tangents, warps, backend, sketch)


def reference_warps(x: Any, symmetry: Symmetry) -> dict[str, Tensor]:
    """Differentiate images along all six affine warps, which candidates are measured against.

    White noise, the reference elsewhere, is no picture. Parts that are no images rest.
    """
    warps = {}
    for path, action in symmetry.input.moving:
        leaf = get_leaf(x, path)
        if leaf.is_floating_point():
            whole = action.lie(Affine(2), leaf) if isinstance(action, GridAction) else None
            warps[path] = leaf.new_zeros(len(leaf), 6, *leaf.shape[1:]) if whole is None else whole
    return warps


def write_null(f: Map, x: Any, symmetry: Symmetry, backend: str, sketch: int = 0) -> Equations | None:
    """Write the same with the directions of other samples: what a network without the symmetry would show.

    Args:
        f: The map.
        x: Input structure of B samples; one in four is used.
        symmetry: Bound to it.
        backend: That worked for `write_equations`.
        sketch: As there.

    Returns:
        The equations; None for graphs, whose points are not alike, and for batches of less than eight.
    """
    rows = len(symmetry.leading(x))
    if Rows.of(x).are_ragged or rows < 2 * NULL_SHARE:
        return None
    few = {p: leaf[::NULL_SHARE] for p, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == rows}
    part = replace_leaves(x, few)
    foreign = {path: t.roll(1, 0) for path, t in input_tangents(part, symmetry).items()}
    return _write(f, part, symmetry, foreign, {}, backend, sketch)


def _write(
    f: Map,
    x: Any,
    symmetry: Symmetry,
    tangents: dict[str, Tensor],
    warps: dict[str, Tensor],
    backend: str,
    sketch: int,
) -> Equations:
    rows, units = Rows.of(x), list_units(x, symmetry)
    owners = {path: _owner(rows, len(t), path, t.device) for path, t in tangents.items()}
    keys = _hash_samples(x, owners, len(symmetry.leading(x)))
    count = next(iter(tangents.values())).shape[1]
    apart = bool(warps) and warps is not tangents
    steps = {path: torch.cat([t, warps[path]], 1) for path, t in tangents.items()} if apart else tangents
    reader: _Exact | _Sketched = (
        _Sketched(f, x, steps, units, owners, keys, sketch)
        if sketch
        else _Exact(f, x, steps, units, owners, keys, backend)
    )
    with torch.no_grad(), full_precision(keys.device):
        values = reader.values
        symmetry.bind(x, replace_leaves(reader.layout, values))
        free, start, answers = count_unknowns(symmetry), count, []
        warped: list[Rowed] = []
        for path, action in _choose_outputs(values, symmetry):
            y = values[path]
            owner = _owner(rows, len(y), path, keys.device)
            pushed, gains, project = reader.read(path, action, y, owner)
            pushed, along = pushed[:, :count], pushed[:, count:] if apart else pushed
            omega = torch.zeros(len(y), count + sum(free.values()), pushed.shape[2], dtype=torch.float64).to(pushed)
            if path in free:
                omega[:, start : start + free[path]] = project(_free_motions(action, y))
                start += free[path]
            elif action is not None and not isinstance(action, StillAction):
                omega[:, :count] = project(action.lie(symmetry.group, y))
            system = -omega
            system[:, :count] += pushed
            spread = owner.repeat_interleave(system.shape[2])
            warped.append(Rowed(along.mT.flatten(0, 1), spread))
            answers.append(
                Answer(
                    Rowed(system.mT.flatten(0, 1), spread),
                    Rowed(omega.mT.flatten(0, 1), spread),
                    gains / _count_coordinates(tangents, owners, keys).unsqueeze(1),
                    as_rows(y if action is None else action.compared(y)).double(),
                    _pool(doubt(y), owner, keys) if isinstance(action, Label) else None,
                )
            )
    flat = {path: t.flatten(2) if t.ndim > 2 else t.unsqueeze(2) for path, t in tangents.items()}
    return Equations(
        answers,
        [_lay_out(u, tangents[u.path] if u.column is not None else flat[u.path], owners) for u in units],
        [_lay_out(u, get_leaf(x, u.path).unsqueeze(1), owners) for u in units],
        keys,
        _own_flow(symmetry, x, flat, values),
        (warped, torch.cat([w.double().flatten(2) for w in warps.values()], 2)) if warps else None,
        reader.backend,
    )


class _Exact:
    """All numbers of the output; the gain of a unit by its answer to white noise."""

    def __init__(
        self, f: Map, x: Any, tangents: Mapping[str, Tensor], units: list[Unit], owners: Any, keys: Tensor, backend: str
    ) -> None:
        self.keys, self.count = keys, next(iter(tangents.values())).shape[1]
        probes = {path: [torch.zeros_like(t[:, :1]) for _ in units] for path, t in tangents.items()}
        for stream, unit in enumerate(units):
            t, place = tangents[unit.path][:, :1], probes[unit.path]
            if unit.column is None:
                own = mix_bits(keys[owners[unit.path]] + hash_rows([get_leaf(x, unit.path)]))
                place[stream] = hashed_normals(own, t[0].numel(), stream).to(t).reshape(t.shape)
            else:
                place[stream][..., unit.column] = 1
        steps = {path: torch.cat([t, *probes[path]], 1) for path, t in tangents.items()}
        found = differentiate(f, x, steps, backend)
        self.layout, self.values, self.backend = found.layout, found.values, found.backend
        self._slopes = found.slopes

    def read(self, path: str, action: Action | None, y: Tensor, owner: Tensor) -> Any:
        """Give the pushed candidates (N, K, m), the gains (B, U), and how motions (N, R, ...) are compared."""

        def project(motions: Tensor) -> Tensor:
            if isinstance(action, Label):
                return fisher_columns(y, motions).flatten(2)
            if action is None or motions.ndim == 2:
                return motions.double().reshape(*motions.shape[:2], -1)
            return action.compared(motions.flatten(0, 1)).double().reshape(*motions.shape[:2], -1)

        pushed = project(self._slopes[path])
        noise = pushed[:, self.count :]
        gains = torch.stack([_pool(n.square().sum(1), owner, self.keys) for n in noise.unbind(1)], 1)
        return pushed[:, : self.count], gains, project


class _Sketched:
    """A few random combinations of the output, pulled back: the gains are then exact."""

    def __init__(
        self, f: Map, x: Any, tangents: Mapping[str, Tensor], units: list[Unit], owners: Any, keys: Tensor, sketch: int
    ) -> None:
        if Rows.of(x).are_ragged:
            raise InvalidSetting(
                got=f"sketch={sketch} for a batch of graphs", expected="sketch=0", remedy="Take all outputs."
            )
        self.tangents, self.units, self.owners, self.keys, self.sketch = tangents, units, owners, keys, sketch
        self._back = Pullback(f, x, list(tangents))
        self.layout, self.values, self.backend = self._back.layout, self._back.values, "vjp"

    def read(self, path: str, action: Action | None, y: Tensor, owner: Tensor) -> Any:
        """Give the pushed candidates (N, K, m), the gains (B, U), and how motions (N, R, ...) are compared."""
        if isinstance(action, Label) and y.ndim > 2:
            raise InvalidSetting(
                got=f"sketch={self.sketch} for a map of classes, {tuple(y.shape)}",
                expected="sketch=0, or one prediction a sample",
                remedy="Leave sketch out.",
            )
        kept = y if action is None else action.compared(y)
        drawn = []
        for turn in range(self.sketch):
            stream = mix_bits(self.keys + turn + 1)
            if isinstance(action, Label) and y.ndim <= 2:
                uniform = torch.special.ndtr(hashed_normals(stream, 1)[:, 0])
                drawn.append(score_cotangent(y, uniform))
            else:
                z = hashed_normals(stream, kept[0].numel()).to(y).reshape(kept.shape)
                drawn.append(z if action is None else torch.func.vjp(action.compared, y)[1](z)[0])
        pulled = [self._back.pull({path: z}) for z in drawn]
        scale = self.sketch**-0.5
        pushed = torch.stack([pair(g, self.tangents).double() for g in pulled], 2) * scale
        gains = torch.stack([self._gain(unit, pulled) for unit in self.units], 1) / self.sketch
        weights = torch.stack([as_rows(z).double() for z in drawn], 2) * scale

        def project(motions: Tensor) -> Tensor:
            return motions.double().reshape(*motions.shape[:2], -1) @ weights

        return pushed, gains, project

    def _gain(self, unit: Unit, pulled: list[dict[str, Tensor]]) -> Tensor:
        squares = [as_rows(unit.take(g[unit.path])).double().square().sum(1) for g in pulled]
        return torch.stack([_pool(square, self.owners[unit.path], self.keys) for square in squares]).sum(0)


def _owner(rows: Rows, size: int, path: str, device: torch.device) -> Tensor:
    owner = rows.owner(size, path)
    return torch.arange(size, device=device) if owner is None else owner.to(device)


def _pool(values: Tensor, owner: Tensor, keys: Tensor) -> Tensor:
    return torch.zeros(len(keys), dtype=torch.float64, device=keys.device).index_add_(0, owner, values.double())


def _hash_samples(x: Any, owners: Mapping[str, Tensor], samples: int) -> Tensor:
    """One number a sample, by everything in it that moves."""
    total = None
    for path, owner in owners.items():
        part = hash_rows([get_leaf(x, path)])
        pooled = torch.zeros(samples, dtype=torch.int64, device=part.device).index_add_(0, owner, part)
        total = mix_bits(pooled if total is None else total + pooled)
    return torch.zeros(0, dtype=torch.int64) if total is None else total


def _count_coordinates(tangents: Mapping[str, Tensor], owners: Mapping[str, Tensor], keys: Tensor) -> Tensor:
    sizes = [_pool(torch.full((len(t),), float(t[0, 0].numel())).to(t), owners[p], keys) for p, t in tangents.items()]
    return torch.stack(sizes).sum(0).clamp_min(1)


def _lay_out(unit: Unit, t: Tensor, owners: Mapping[str, Tensor]) -> Rowed:
    """Turn (N, K, ...) into rows of K numbers."""
    flat = unit.take(t).double().reshape(*t.shape[:2], -1)
    return Rowed(flat.mT.flatten(0, 1), owners[unit.path].repeat_interleave(flat.shape[2]))


def _choose_outputs(values: Mapping[str, Tensor], symmetry: Symmetry) -> list[tuple[str, Action | None]]:
    """List what is compared: the named parts, and where one has no name every other leaf."""
    named = {path: action for path, action in symmetry.output.parts if path is not None}
    open_parts = [action for path, action in symmetry.output.parts if path is None]
    leaves = {path: leaf for path, leaf in values.items() if leaf.is_floating_point() and leaf.ndim and leaf[0].numel()}
    chosen: list[tuple[str, Action | None]] = [(path, named[path]) for path in leaves if path in named]
    if open_parts:
        chosen += [(path, open_parts[0]) for path in leaves if path not in named]
    if not chosen:
        raise InvalidSetting(
            got=f"an output without floating-point numbers at {sorted(map(str, named)) or 'any path'} "
            f"({describe_leaves(dict(values))})",
            expected="numbers that can be differentiated",
            remedy="Give the network itself (logits instead of class indices), or correct the output's paths.",
        )
    return chosen


def _free_motions(action: Any, y: Tensor) -> Tensor:
    """How each entry of an unknown matrix moves an output: (N, D^2, ...)."""
    size = action.generators().shape[-1]
    units = torch.eye(size * size, dtype=torch.float64, device=y.device).reshape(-1, size, size)
    # the last row of homogeneous generators stays zero
    return action.apply_generators(units[: size * (size - action.translates)], y.double())


def _own_flow(
    symmetry: Symmetry, x: Any, tangents: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> Tensor | None:
    """The motion that a vector field makes, beside the candidates: (B, K + 1, n)."""
    if len(symmetry.input.moving) != 1 or len(symmetry.output.moving) != 1 or Rows.of(x).are_ragged:
        return None
    (path, _), (target, answer) = symmetry.input.moving[0], symmetry.output.moving[0]
    if not answer.attached:
        return None
    motion = answer.compared(values[target])
    return torch.cat([tangents[path].double(), as_rows(motion).double().unsqueeze(1)], 1)
