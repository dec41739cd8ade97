"""One forward of a network with everything that its layers add to the Lie derivative, and where cotangents arrive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_symmetry.actions import Action, Image, StillAction, by_name
from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.metrics.base import Map
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetrization import input_tangents, lie_derivative
from lightning_symmetry.symmetry import Symmetry

_STEPS = {torch.float64: 1e-5}
_STEP = 1e-2


@dataclass
class _Call:
    """One call of a layer: what it adds to each output, (R, K, ...), and where cotangents arrive."""

    number: int
    outputs: list[Tensor]
    terms: list[Tensor]
    gates: list[Tensor]


class Attribution:
    """One forward of the network, with everything that its layers leave.

    Args:
        symmetry: Group and actions.
        chosen: Layers by name, none within another.
        features: Pattern of layer names to the words of the action of what they give.
        derivative: Of content on grids; None leaves it to the input's action.
    """

    def __init__(
        self, symmetry: Symmetry, chosen: Mapping[str, nn.Module], features: Mapping[str, str], derivative: str | None
    ) -> None:
        self.symmetry, self.chosen, self.features = symmetry, chosen, features
        self.calls: dict[str, list[_Call]] = {}
        self._actions: dict[int, Action | None] = {}
        self._tangents: dict[int, Tensor] = {}
        self._kept: list[Any] = []
        self._entered: dict[str, list[Any]] = {}
        grids = [action for _, action in symmetry.input.moving if isinstance(action, Image)]
        self._image = Image(grids[0].padding, derivative or grids[0].gradient) if grids else None
        self._by_words = {word: by_name(word) for word in features.values()}
        for action in self._by_words.values():
            if isinstance(action, GridAction) and derivative is not None:
                action.gradient = derivative

    def measure(self, f: Map, x: Any, probes: int, rng: Rng) -> Tensor:
        """Add up over the samples of one input.

        Args:
            f: The network.
            x: Input structure of B samples, of its own.
            probes: Backwards for the magnitudes.
            rng: Of the probes.

        Returns:
            (layers + 2, K, 3): for each layer, and for what lies between, the sums over samples of the magnitude, of
            its square, and of the inner product with the whole; last the squared size of the whole, B, and 0.
        """
        symmetry, rows = self.symmetry.bind(x), Rows.of(x)
        tangents = input_tangents(x, symmetry)
        whole = {
            p: t.double() for p, t in find_leaves(_without_gradient(f, x, symmetry)).items() if t.is_floating_point()
        }
        self._tangents = {id(get_leaf(x, path)): t for path, t in tangents.items()}
        with ExitStack() as stack:
            for name, layer in self.chosen.items():
                stack.callback(layer.register_forward_pre_hook(self._enter(name), with_kwargs=True).remove)
                stack.callback(layer.register_forward_hook(self._leave(name), with_kwargs=True).remove)
            y = f(x)
        symmetry.bind(x, y)
        outputs = {path: leaf for path, leaf in find_leaves(y).items() if path in whole and leaf.ndim}
        self._end(y, outputs)
        count, size = rows.count or len(next(iter(tangents.values()))), symmetry.group.count
        table = torch.zeros(len(self.chosen) + 2, size, 3, dtype=torch.float64, device=symmetry.leading(x).device)
        sizes = sum((v * v).sum([i for i in range(v.ndim) if i != 1]) for v in (whole[p] for p in outputs))
        table[-1, :, 0], table[-1, :, 1] = sizes, count
        squares = table.new_zeros(len(self.chosen) + 1, count, size)
        for _ in range(probes):
            z = {p: rng.normal(len(v), *v.shape[1:], device=v.device, dtype=v.dtype) for p, v in outputs.items()}
            terms = self._pull(outputs, z, rows, count)
            rest = sum(_pair(z[p], whole[p], rows, count) for p in outputs) - terms.sum(0)
            squares += torch.cat((terms, rest[None])).square() / probes
        table[:-1, :, 0], table[:-1, :, 1] = squares.sum(1), squares.square().sum(1)
        for k in range(size):
            z = {p: whole[p][:, k].to(v.dtype) for p, v in outputs.items()}
            terms = self._pull(outputs, z, rows, count)[..., k].sum(1)
            table[:-1, k, 2] = torch.cat((terms, (table[-1, k, 0] - terms.sum())[None]))
        return table

    @property
    def order(self) -> list[str]:
        """Names of the layers that were called, in the order of their first call."""
        return sorted(self.calls, key=lambda name: self.calls[name][0].number)

    def _enter(self, name: str) -> Any:
        def keep(layer: nn.Module, args: Any, kwargs: Any) -> None:
            given = [list(args), kwargs]
            leaves = find_leaves(given)
            moved = {p: self._move(name, leaf) for p, leaf in leaves.items() if leaf.is_floating_point() and leaf.ndim}
            # a layer may write into what it is given
            copied = replace_leaves(given, {p: leaf.detach().clone() for p, leaf in leaves.items()})
            self._entered.setdefault(name, []).append((copied, {p: t for p, t in moved.items() if t is not None}))

        return keep

    def _leave(self, name: str) -> Any:
        def measure(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            given, moved = self._entered[name].pop()
            leaves = {p: leaf for p, leaf in find_leaves(output).items() if leaf.is_floating_point() and leaf.ndim}
            changes = self._differentiate(layer, given, moved, list(leaves))
            number = sum(map(len, self.calls.values()))
            call = _Call(number, [], [], [])
            for path, leaf in leaves.items():
                gate = torch.zeros_like(leaf, requires_grad=True)
                # through the gate arrives what the rest of the network makes of a change here
                leaves[path] = leaf + gate
                action = self._find_action(name, leaf)
                self._actions[id(leaves[path])] = action
                field = None if action is None else action.lie(self.symmetry.group, leaf.detach())
                term = changes.get(path)
                if term is None:
                    term = leaf.new_zeros(len(leaf), self.symmetry.group.count, *leaf.shape[1:])
                call.outputs.append(leaves[path])
                call.terms.append(term.detach() if field is None else (term - field).detach())
                call.gates.append(gate)
            self.calls.setdefault(name, []).append(call)
            self._kept.append(output)
            return replace_leaves(output, leaves)

        return measure

    def _differentiate(
        self, layer: nn.Module, given: Any, moved: Mapping[str, Tensor], paths: list[str]
    ) -> dict[str, Tensor]:
        """Differentiate one layer along every generator: path to (R, K, ...)."""
        if not moved:
            return {}
        points = {path: get_leaf(given, path) for path in moved}

        def evaluate(points: dict[str, Tensor]) -> dict[str, Tensor]:
            # in-place layers must not reach the points
            args, kwargs = replace_leaves(given, {p: t.clone() for p, t in points.items()})
            found = find_leaves(layer.forward(*args, **kwargs))
            return {path: found[path] for path in paths}

        columns = []
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            for k in range(self.symmetry.group.count):
                directions = {path: t[:, k].to(points[path].dtype).contiguous() for path, t in moved.items()}
                columns.append(_push(evaluate, points, directions))
        return {path: torch.stack([column[path] for column in columns], 1) for path in paths}

    def _find_action(self, name: str, leaf: Tensor) -> Action | None:
        """Tell how a feature moves; None where it does not."""
        for pattern, words in self.features.items():
            if re.search(pattern, name):
                action = self._by_words[words]
                if isinstance(action, StillAction):
                    return None
                action.check(leaf)
                action.bind(leaf, self.symmetry.group)
                return action
        is_image = leaf.ndim == 4 and min(leaf.shape[2:]) > 1
        return self._image if is_image else None

    def _move(self, name: str, leaf: Tensor) -> Tensor | None:
        """Give the directions in which an input of a layer moves, (R, K, ...); None where it does not."""
        if id(leaf) in self._tangents:
            return self._tangents[id(leaf)]
        try:
            action = self._actions[id(leaf)] if id(leaf) in self._actions else self._find_action(name, leaf)
        except ActionMismatch:
            # what a layer is given need not be of the kind that it gives
            return None
        return None if action is None else action.lie(self.symmetry.group, leaf.detach())

    def _end(self, y: Any, outputs: Mapping[str, Tensor]) -> None:
        """What the network returns moves as the symmetry says, whatever layer made it."""
        moving, group = dict(self.symmetry.output.moving), self.symmetry.group
        final = {id(leaf): path for path, leaf in outputs.items()}
        for call in (call for calls in self.calls.values() for call in calls):
            for i, output in enumerate(call.outputs):
                path = final.get(id(output))
                action = self._actions[id(output)]
                if path is None or action is moving.get(path):
                    continue
                value = output.detach()
                if action is not None:
                    call.terms[i] = call.terms[i] + action.lie(group, value)
                if path in moving:
                    call.terms[i] = call.terms[i] - moving[path].lie(group, value)

    def _pull(self, outputs: Mapping[str, Tensor], z: Mapping[str, Tensor], rows: Rows, count: int) -> Tensor:
        """Pair a cotangent of the output, carried back to every layer, with what the layer adds: (layers, B, K)."""
        calls = [(index, call) for index, name in enumerate(self.chosen) for call in self.calls.get(name, [])]
        gates = [gate for _, call in calls for gate in call.gates]
        answers = [(leaf, z[path].to(leaf.dtype)) for path, leaf in outputs.items() if leaf.requires_grad]
        size = self.symmetry.group.count
        like = next(iter(outputs.values()))
        found = torch.zeros(len(self.chosen), count, size, dtype=torch.float64, device=like.device)
        if not answers or not gates:
            return found
        ends, given = zip(*answers, strict=True)
        arrived = iter(torch.autograd.grad(ends, gates, given, retain_graph=True, allow_unused=True))
        for index, call in calls:
            for term in call.terms:
                cotangent = next(arrived)
                if cotangent is not None:
                    found[index] += _pair(cotangent, term, rows, count)
        return found


def _push(evaluate: Any, points: dict[str, Tensor], directions: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        slopes: dict[str, Tensor] = torch.func.jvp(evaluate, (points,), (directions,))[1]
    except (NotImplementedError, RuntimeError):
        # what has no forward derivative
        dtype = next(iter(points.values())).dtype
        sizes = [torch.stack([t.double().norm() for t in parts.values()]).norm() for parts in (points, directions)]
        step = float(_STEPS.get(dtype, _STEP) * sizes[0].clamp_min(1e-6) / sizes[1].clamp_min(1e-30))
        ahead, behind = (
            evaluate({p: (t.double() + sign * step * directions[p].double()).to(t.dtype) for p, t in points.items()})
            for sign in (1, -1)
        )
        slopes = {p: ((t.double() - behind[p].double()) / (2 * step)).to(t.dtype) for p, t in ahead.items()}
    return slopes


def _pair(cotangent: Tensor, term: Tensor, rows: Rows, count: int) -> Tensor:
    """Multiply (R, ...) with (R, K, ...) and sum over the rows of each sample: (B, K)."""
    a, b = cotangent.double().flatten(1), term.double()
    products = torch.einsum("rd,rkd->rk", a if cotangent.ndim > 1 else a.reshape(-1, 1), b.reshape(*b.shape[:2], -1))
    if len(products) == count and rows.count is None:
        return products
    if rows.levels and (owner := rows.owner(len(products))) is not None:
        return products.new_zeros(count, products.shape[1]).index_add(0, owner.to(products.device), products)
    if len(products) == count:
        return products
    # samples cannot be told apart; their probes are independent, so that the square of a sum is the sum of squares
    lump = products.new_zeros(count, products.shape[1])
    lump[0] = products.sum(0)
    return lump


def _without_gradient(f: Map, x: Any, symmetry: Symmetry) -> Any:
    with torch.no_grad():
        return lie_derivative(f, x, symmetry, "auto")
