"""Weights cut into blocks, each with the maps that commute with every group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.equivariant_maps import EquivariantMaps
from lightning_symmetry.functional.kernel_maps import KernelMaps, bias_maps, kernel_maps, read_channels
from lightning_symmetry.functional.precision import full_precision, widen
from lightning_symmetry.functional.tensor_types import TensorType, Types, count_numbers, read_types
from lightning_symmetry.losses.layers import TypedLayer
from lightning_symmetry.losses.matrices import Matrices


def find_maps(typed: TypedLayer, matrices: Matrices, maps: EquivariantMaps, bias: bool) -> dict[str, list[KernelMaps]]:
    """Find the blocks of a layer's weight, and of its bias, and the maps among them that commute with a group.

    Raises:
        InvalidSetting: The types do not fit the layer.
    """
    layer, bias = typed.layer, bias and typed.layer.bias is not None
    if isinstance(layer, nn.Linear):
        types = [
            _fit(read_types(words), width, maps.dim, typed.name, word)
            for words, width, word in (
                (typed.types_out, layer.out_features, "outputs"),
                (typed.types_in, layer.in_features, "inputs"),
            )
        ]
        found = {"weight": _cut(types[0], types[1], maps)}
        return found | {"bias": _cut(types[0], (TensorType(1, 0),), maps)} if bias else found
    outputs, inputs = (read_channels(words) for words in (typed.types_out, typed.types_in))
    if not matrices.complete and "reg" in f"{typed.types_out} {typed.types_in}":
        raise InvalidSetting(
            got=f"regular channels in {typed.name!r}, of a group of permutations",
            expected="channels that are tensors, such as 4x0 + 2x1: it has too many elements for one channel each",
            remedy="Give Projection such types, or measure by samples with Equivariance().",
        )
    group = matrices.generators, matrices.elements
    shape, dilation = tuple(layer.weight.shape), tuple(layer.dilation)
    found = {"weight": kernel_maps(shape, outputs, inputs, *group, dilation=dilation, groups=layer.groups)}
    return found | {"bias": bias_maps(shape[0], outputs, *group)} if bias else found


def _fit(types: Types, width: int, dim: int, name: str, word: str) -> Types:
    if count_numbers(types, dim) != width:
        raise InvalidSetting(
            got=f"{' + '.join(map(str, types))}, {count_numbers(types, dim)} numbers in {dim} dimensions, for the "
            f"{width} {word} of {name!r}",
            expected="types as wide as the layer",
            remedy="Give Projection the types of the layers that it should look at.",
        )
    return types


def _cut(outputs: Types, inputs: Types, maps: EquivariantMaps) -> list[KernelMaps]:
    """Cut a matrix into the blocks from one tensor to another, written row by row."""
    dim = maps.dim
    places = torch.arange(count_numbers(outputs, dim) * count_numbers(inputs, dim))
    rows = places.reshape(-1, count_numbers(inputs, dim)).split([t.size(dim) for t in outputs])
    found = []
    for out, strip in zip(outputs, rows, strict=True):
        for into, block in zip(inputs, strip.split([t.size(dim) for t in inputs], 1), strict=True):
            index = block.reshape(out.copies, dim**out.rank, into.copies, -1).transpose(1, 2)
            basis = maps.basis(into.rank, out.rank, out.pseudo != into.pseudo)
            found.append(KernelMaps(index.reshape(out.copies * into.copies, -1), basis))
    return found


@final
@dataclass(frozen=True)
class _Sheet:
    """Blocks of one size that look at the same maps, a column each: long rows are quickest to multiply.

    Args:
        start: Where their numbers begin, among those of all sheets.
        owner: (n,), the parameter of every block.
        excess: (G, m, m), the projectors onto what no map of a group has; zero for groups that cut otherwise.
    """

    start: int
    owner: Tensor
    excess: Tensor

    def read(self, numbers: Tensor) -> Tensor:
        """View the blocks, (m, n), among the numbers of all sheets."""
        columns = len(self.owner)
        return numbers[self.start : self.start + columns * self.excess.shape[-1]].view(-1, columns)


@final
class Blocks:
    """All parameters under study, cut into blocks, with the maps of every group.

    Args:
        found: For every group, for every parameter, its blocks.
        sizes: Numbers of every parameter.
        device: Where the parameters are.

    Attributes:
        free: (P, G), the share of a parameter's directions that no map of the group has: 1 - dim_k / dim.
    """

    def __init__(
        self, found: Sequence[Sequence[Sequence[KernelMaps]]], sizes: Sequence[int], device: torch.device
    ) -> None:
        self.sizes, self.device, self.groups = list(sizes), device, len(found)
        # of what is summed over all parameters
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        kept = [[sum(len(b.index) * b.basis.shape[1] for b in blocks) for blocks in maps] for maps in found]
        self.free = 1 - self._tell(kept).mT / self._tell(sizes)[:, None]
        self.sheets: list[_Sheet] = []
        self._excess: dict[torch.dtype, list[Tensor]] = {}
        self._lay_out(found)

    def _tell(self, numbers: Any) -> Tensor:
        return torch.tensor(numbers, dtype=self.dtype, device=self.device)

    def _lay_out(self, found: Sequence[Sequence[Sequence[KernelMaps]]]) -> None:
        """Put blocks of several parameters together that all groups cut alike and look at with the same maps."""
        alike: dict[Any, list[tuple[int, Tensor]]] = defaultdict(list)
        bases: dict[Any, dict[int, Tensor]] = {}
        for p, start in zip(range(len(self.sizes)), accumulate(self.sizes, initial=0), strict=False):
            pieces: dict[bytes, tuple[Tensor, dict[int, Tensor]]] = {}
            for g, maps in enumerate(found):
                for block in maps[p]:
                    piece = pieces.setdefault(_print(block.index), (block.index, {}))
                    piece[1][g] = block.basis.to("cpu", torch.float64)
            for index, looks in pieces.values():
                # where every map is allowed there is nothing to measure
                if any(basis.shape[0] > basis.shape[1] for basis in looks.values()):
                    key = index.shape[1], tuple((g, _print(basis)) for g, basis in looks.items())
                    bases[key] = looks
                    alike[key].append((p, index + start))
        order = [torch.zeros(0, dtype=torch.long)]
        for key, rows in alike.items():
            excess = torch.zeros(self.groups, key[0], key[0], dtype=torch.float64)
            for g, basis in bases[key].items():
                excess[g] = torch.eye(len(basis)) - basis @ basis.mT
            owner = torch.tensor([p for p, index in rows for _ in range(len(index))], device=self.device)
            self.sheets.append(_Sheet(sum(map(len, order)), owner, excess.to(self.device, self.dtype)))
            order.append(torch.cat([index for _, index in rows]).mT.flatten())
        self.order = torch.cat(order).to(self.device)
        # the way back is a selection too, where no number is looked at twice; a place of its own holds a zero
        back = torch.full((sum(self.sizes),), len(self.order), device=self.device)
        back[self.order] = torch.arange(len(self.order), device=self.device)
        self.back = back if len(self.order.unique()) == len(self.order) else None

    def excess(self, dtype: torch.dtype) -> list[Tensor]:
        """Give the projectors of all sheets in the type of the numbers."""
        if dtype not in self._excess:
            self._excess[dtype] = [sheet.excess.to(dtype) for sheet in self.sheets]
        return self._excess[dtype]

    def measure(self, parameters: Sequence[Tensor], normalise: bool) -> list[Tensor]:
        """Measure what of the parameters no equivariant map has, 1/2 sum_p ||W_p - P_k W_p||^2.

        Args:
            parameters: P of them, of the given sizes.
            normalise: In units of what random parameters of their sizes would give, 1/2 sum_p free_pk ||W_p||^2.

        Returns:
            One scalar a group, which can be differentiated once. What is smaller than 1e-12 of the parameters is told
            as that, and keeps its gradient.
        """
        with full_precision(self.device):
            values: tuple[Tensor, ...] = _Excess.apply(self, normalise, *parameters)
        return list(values)

    def measure_apart(self, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Measure every parameter for itself.

        Args:
            parameters: P of them, of the given sizes.

        Returns:
            ||W_p - P_k W_p||^2, (P, G), and ||W_p||^2, (P, 1); at least 1e-12 of the latter, likewise.
        """
        with full_precision(self.device):
            flat = torch.cat([p.flatten() for p in parameters]).to(self.dtype)
            numbers = flat.index_select(0, self.order)
            residual = flat.new_zeros(self.groups, len(parameters))
            for sheet in self.sheets:
                squares = (sheet.excess @ sheet.read(numbers)).square().sum(1)
                residual = residual.index_add(1, sheet.owner, squares)
            sizes = torch.stack([part.square().sum() for part in flat.split(self.sizes)])[:, None]
            return residual.mT + (1e-12 * sizes - residual.mT).clamp_min(0).detach(), sizes


class _Excess(torch.autograd.Function):
    """1/2 ||(1 - P) W||^2 of the residual itself, which is exact to 1e-7 of W in the precision of the weights.

    A difference of squares would need doubles, and graphics cards are slow with them. Backwards the slopes make one
    matrix of the projectors of all groups. Everything is one node of the graph, since the numbers are few and nodes
    take time.
    """

    @staticmethod
    def forward(ctx: Any, blocks: Blocks, normalise: bool, *parameters: Tensor) -> tuple[Tensor, ...]:
        flat = widen(torch.cat([p.reshape(-1) for p in parameters]))
        sizes = torch.stack([torch.linalg.vector_norm(part) for part in flat.split(blocks.sizes)])
        sizes = sizes.to(blocks.dtype).square()
        numbers = flat.index_select(0, blocks.order)
        norms = [numbers.new_zeros(blocks.groups)]
        for sheet, excess in zip(blocks.sheets, blocks.excess(numbers.dtype), strict=True):
            residual = excess.flatten(0, 1) @ sheet.read(numbers)
            norms.append(torch.linalg.vector_norm(residual.view(blocks.groups, -1), dim=1))
        value = torch.stack(norms).to(blocks.dtype).square().sum(0)
        value = torch.maximum(value, 1e-12 * sizes.sum()) / 2
        ctx.blocks, ctx.normalise = blocks, normalise
        chance = (sizes @ blocks.free).clamp_min(1e-300) / 2 if normalise else torch.ones_like(value)
        value = value / chance
        ctx.save_for_backward(value, chance, numbers, *parameters)
        return value.to(flat.dtype).unbind()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        blocks: Blocks = ctx.blocks
        value, chance, numbers, *parameters = ctx.saved_tensors
        slope = torch.stack(slopes).to(value.dtype) / chance
        weights, changes = slope.to(numbers.dtype), numbers.new_zeros(len(numbers) + 1)
        for sheet, excess in zip(blocks.sheets, blocks.excess(numbers.dtype), strict=True):
            part = sheet.read(numbers)
            torch.mm((weights @ excess.flatten(1)).view(len(part), -1), part, out=sheet.read(changes))
        if blocks.back is None:
            total = numbers.new_zeros(sum(blocks.sizes)).index_add_(0, blocks.order, changes[:-1])
        else:
            total = changes.index_select(0, blocks.back)
        parts = [part.view_as(p) for part, p in zip(total.split(blocks.sizes), parameters, strict=True)]
        if ctx.normalise:
            growth = -(blocks.free @ (slope * value)).to(total.dtype)
            parts = [part.addcmul_(p, rate) for part, p, rate in zip(parts, parameters, growth.unbind(), strict=True)]
        return None, None, *parts


def _print(numbers: Tensor) -> bytes:
    return numbers.detach().cpu().contiguous().numpy().tobytes()
