"""Derivatives of a map along many directions of its input at once: forward mode, reverse mode, or differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.precision import widen
from lightning_symmetry.functional.residuals import as_rows
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows

Map = Callable[[Any], Any]

BACKENDS = ("auto", "jvp", "vjp", "difference")
# Numbers of repeated input that go through f at once: beyond that, directions take turns.
MOST_NUMBERS = 2**24
_STEPS = {torch.float64: 1e-4}
_STEP = 1e-2


@final
@dataclass(frozen=True, eq=False)
class Derivatives:
    """What a map answers, and how fast the answer changes.

    Args:
        layout: An output structure, whose floating-point leaves are replaced by ``values`` or ``slopes``.
        values: Path to answer (R, ...).
        slopes: Path to derivative (R, K, ...), one for each direction.
        backend: By which they were taken.
    """

    layout: Any
    values: dict[str, Tensor]
    slopes: dict[str, Tensor]
    backend: str


def differentiate(
    f: Map, x: Any, tangents: Mapping[str, Tensor], backend: str = "auto", step: float | None = None
) -> Derivatives:
    """Differentiate f along K directions of its input.

    slopes[r, k] = Df(x_r) v_k(x_r), the derivative of f(x + t v_k) at t = 0.

    Args:
        f: Map that treats samples independently (batch-norm in evaluation mode).
        x: Input structure of B samples.
        tangents: Path in ``x`` to directions (B, K, ...), floating point; (R, K, ...) for R nodes of graphs.
        backend: "jvp", forward mode, exact, one forward for all and a tangent for each direction; "vjp", reverse mode,
            exact, one backward for each number of the output, whatever K, so best for few outputs; "difference",
            central, two forwards a direction, for what cannot be differentiated; "auto", vjp where the output has fewer
            numbers than there are directions, else jvp, and the next that works where an operation lacks a derivative.
        step: Of the difference, relative to the size of a sample; by default 1e-4 in float64 and 1e-2 below.

    Returns:
        The answers and their slopes.

    Raises:
        InvalidSetting: The backend is unknown, or does not work for this map; it says why.

    Example:
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> turn = torch.tensor([[[-4.0, 3.0]]])
        >>> differentiate(lambda x: x[:, 0], x, {"": turn}).slopes[""]
        tensor([[-4.]])
    """
    if backend not in BACKENDS:
        raise InvalidSetting(f"backend={backend!r}", f"one of {', '.join(BACKENDS)}", "Use 'auto'.")
    ragged = Rows.of(x).are_ragged
    if backend != "auto":
        try:
            return _run(backend, f, x, tangents, step, ragged)
        except (NotImplementedError, RuntimeError) as error:
            raise _refuse(backend, error) from error
    count = next(iter(tangents.values())).shape[1]
    order = ["jvp", "vjp"] if ragged or _count_numbers(f, x, tangents) >= count else ["vjp", "jvp"]
    for name in [*order, "difference"]:
        try:
            return _run(name, f, x, tangents, step, ragged)
        except torch.OutOfMemoryError:
            raise
        except (NotImplementedError, RuntimeError) as error:
            # a mistake of the map itself fails without derivatives too, and comes out as it is
            failure = error
    raise failure


def _count_numbers(f: Map, x: Any, tangents: Mapping[str, Tensor]) -> int:
    """Count the numbers that a sample is answered with."""
    rows = len(next(iter(tangents.values())))
    few = {path: leaf[:2] for path, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == rows}
    with torch.no_grad():
        try:
            y = f(replace_leaves(x, few))
        except Exception:
            # only some maps want the batch that they know
            y = f(x)
    return sum(as_rows(leaf).shape[1] for leaf in find_leaves(y).values() if leaf.is_floating_point() and leaf.ndim)


def _refuse(backend: str, error: BaseException) -> InvalidSetting:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return InvalidSetting(
        got=f"a map that backend={backend!r} cannot differentiate ({reason[0][:200]})",
        expected="operations that have such a derivative",
        remedy="Use backend='auto', or 'difference', which needs forwards only.",
    )


def _run(backend: str, f: Map, x: Any, tangents: Mapping[str, Tensor], step: float | None, ragged: bool) -> Derivatives:
    if backend == "vjp":
        return _by_pulling(f, x, tangents, ragged)
    count = next(iter(tangents.values())).shape[1]
    numbers = sum(leaf.numel() for leaf in find_leaves(x).values())
    chunk = max(1, min(count, MOST_NUMBERS // max(numbers, 1)))
    chunks = [{path: t[:, start : start + chunk] for path, t in tangents.items()} for start in range(0, count, chunk)]
    push = _push if backend == "jvp" else _difference
    parts = [push(f, x, directions, step, ragged) for directions in chunks]
    layout, values, first = parts[0]
    slopes = {path: torch.cat([part[path] for *_, part in parts], 1) for path in first}
    return Derivatives(layout, values, slopes, backend)


def repeat_rows(x: Any, samples: int, times: int) -> Any:
    """Repeat every row of an ordinary batch, one after the other.

    Args:
        x: Input structure of ``samples`` rows.
        samples: Tensors with another number of rows stay as they are.
        times: How often.

    Returns:
        The same structure of ``samples * times`` rows.
    """
    leaves = {path: leaf for path, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == samples}
    return replace_leaves(x, {path: leaf.repeat_interleave(times, 0) for path, leaf in leaves.items()})


Slopes = tuple[Any, dict[str, Tensor], dict[str, Tensor]]


def _evaluator(f: Map, x: Any, layout: list[Any]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    def evaluate(moved: dict[str, Tensor]) -> dict[str, Tensor]:
        layout[:] = [f(replace_leaves(x, moved))]
        return {path: y for path, y in find_leaves(layout[0]).items() if y.is_floating_point() and y.ndim}

    return evaluate


def _push(f: Map, x: Any, directions: dict[str, Tensor], step: float | None, ragged: bool) -> Slopes:
    """Differentiate along directions (R, k, ...), forwards."""
    layout: list[Any] = []
    shared: Any = (None, 1)

    def push(x: Any, directions: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        points = {path: get_leaf(x, path) for path in directions}
        return torch.func.jvp(_evaluator(f, x, layout), (points,), (directions,))[:2]

    # fused attention has no forward derivative
    with sdpa_kernel(SDPBackend.MATH):
        try:
            # one forward for all directions
            values, slopes = torch.func.vmap(lambda d: push(x, d), in_dims=1, out_dims=shared)(directions)
        except RuntimeError:
            # what cannot be vectorised, such as drawing noise, needs a forward for each direction
            slopes = _repeat(lambda x, d: push(x, d)[1], x, directions, ragged)
            values = _evaluator(f, x, layout)({})
    return layout[0], values, slopes


def _repeat(
    take: Callable[[Any, dict[str, Tensor]], dict[str, Tensor]], x: Any, directions: dict[str, Tensor], ragged: bool
) -> dict[str, Tensor]:
    """Give every row one direction at a time: rows are repeated, graphs, which cannot be, take turns."""
    rows, count = next(iter(directions.values())).shape[:2]
    if ragged:
        turns = [take(x, {path: t[:, k] for path, t in directions.items()}) for k in range(count)]
        return {path: torch.stack([turn[path] for turn in turns], 1) for path in turns[0]}
    found = take(repeat_rows(x, rows, count), {path: t.flatten(0, 1) for path, t in directions.items()})
    return {path: slopes.unflatten(0, (rows, count)) for path, slopes in found.items()}


def _difference(f: Map, x: Any, directions: dict[str, Tensor], step: float | None, ragged: bool) -> Slopes:
    """Differentiate along directions (R, k, ...) by central differences."""
    layout: list[Any] = []

    def take(x: Any, directions: dict[str, Tensor]) -> dict[str, Tensor]:
        points = {path: get_leaf(x, path) for path in directions}
        evaluate = _evaluator(f, x, layout)
        share = _STEPS.get(next(iter(points.values())).dtype, _STEP) if step is None else step
        # every sample takes a step of the same share of its size, whatever the length of its direction
        lengths, sizes = (
            torch.stack([as_rows(widen(t)).square().sum(None if ragged else 1) for t in parts.values()]).sum(0).sqrt()
            for parts in (directions, points)
        )
        sizes = torch.where(lengths > 0, share * sizes.clamp_min(1e-6) / lengths.clamp_min(1e-30), 1.0)

        def shift(sign: float) -> dict[str, Tensor]:
            return {
                path: (widen(point) + sign * _beside(sizes, point) * widen(directions[path])).to(point.dtype)
                for path, point in points.items()
            }

        ahead, behind = evaluate(shift(1.0)), evaluate(shift(-1.0))
        return {path: (y - behind[path]) / (2 * _beside(sizes, y)).to(y.dtype) for path, y in ahead.items()}

    slopes = _repeat(take, x, directions, ragged)
    return layout[0], _evaluator(f, x, layout)({}), slopes


def _beside(size: Tensor, like: Tensor) -> Tensor:
    return size if size.ndim == 0 else size.view(-1, *[1] * (like.ndim - 1))


class Pullback:
    """One evaluation of a map, ready to carry cotangents of the output back to the input.

    Args:
        f: Map that treats samples independently.
        x: Input structure.
        paths: The leaves of the input that are differentiated.

    Raises:
        RuntimeError: The map breaks the gradient.
    """

    def __init__(self, f: Map, x: Any, paths: list[str]) -> None:
        # what is made in inference mode has no gradient
        with torch.inference_mode(False), torch.enable_grad():
            # a clone outside inference mode may be differentiated
            plain = replace_leaves(x, {path: leaf.clone() for path, leaf in find_leaves(x).items()})
            self.points = {path: get_leaf(plain, path).detach().requires_grad_() for path in paths}
            self.layout = f(replace_leaves(plain, self.points))
        self._answers = {p: y for p, y in find_leaves(self.layout).items() if y.is_floating_point() and y.ndim}
        if self._answers and not any(y.requires_grad for y in self._answers.values()):
            raise RuntimeError("the answer has no gradient: it was detached, or made under no_grad")
        self.values = {path: answer.detach() for path, answer in self._answers.items()}

    def pull(self, cotangents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Carry cotangents back.

        Args:
            cotangents: Path of the output to (R, ...).

        Returns:
            Path of the input to J^T z, (B, ...).
        """
        with torch.inference_mode(False):
            chosen = [(self._answers[p], z.clone()) for p, z in cotangents.items() if self._answers[p].requires_grad]
            points = list(self.points.values())
            if not chosen:
                return {path: torch.zeros_like(point) for path, point in self.points.items()}
            answers, given = zip(*chosen, strict=True)
            found = torch.autograd.grad(answers, points, given, retain_graph=True, allow_unused=True)
        return {
            path: torch.zeros_like(point) if g is None else g
            for (path, point), g in zip(self.points.items(), found, strict=True)
        }


def _by_pulling(f: Map, x: Any, tangents: Mapping[str, Tensor], ragged: bool) -> Derivatives:
    """One backward for each number of the output, then one product with every direction."""
    if ragged:
        raise NotImplementedError("reverse mode on a batch of graphs, whose rows are not independent")
    back = Pullback(f, x, list(tangents))
    slopes = {}
    for path, value in back.values.items():
        flat = as_rows(value)
        columns = []
        for index in range(flat.shape[1]):
            cotangent = torch.zeros_like(flat)
            cotangent[:, index] = 1
            columns.append(pair(back.pull({path: cotangent.reshape(value.shape)}), tangents))
        slopes[path] = torch.stack(columns, 2).unflatten(2, value.shape[1:]) if value.ndim > 1 else columns[0]
    return Derivatives(back.layout, back.values, slopes, "vjp")


def pair(cotangent: Mapping[str, Tensor], tangents: Mapping[str, Tensor]) -> Tensor:
    """Multiply a cotangent with every direction, sample by sample.

    Args:
        cotangent: Path to (B, ...).
        tangents: Path to (B, K, ...).

    Returns:
        (B, K).

    Raises:
        ActionMismatch: They do not belong to the same samples.
    """
    total: Tensor | None = None
    for path, t in tangents.items():
        one = cotangent[path]
        if one.shape != t.shape[:1] + t.shape[2:]:
            raise ActionMismatch(f"a cotangent {tuple(one.shape)}", f"one a sample of {tuple(t.shape)}", "Match them.")
        part = (
            as_rows(one).unsqueeze(1) @ t.to(one.dtype).flatten(2).mT if t.ndim > 2 else (one[:, None] * t)[:, None]
        )[:, 0]
        total = part if total is None else total + part
    if total is None:
        raise ActionMismatch("no direction at all", "at least one", "Name what moves.")
    return total
