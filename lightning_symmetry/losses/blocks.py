"""Weights cut into blocks, each with the maps that commute with every group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.equivariant_maps import EquivariantMaps
from lightning_symmetry.functional.kernel_maps import KernelMaps, bias_maps, kernel_maps
from lightning_symmetry.functional.precision import full_precision
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
    outputs, inputs = (_read_channels(words, typed.name) for words in (typed.types_out, typed.types_in))
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


def _read_channels(words: str, name: str) -> list[tuple[int, Any]]:
    """Read the types of channels: copies x rank, or copies x regular."""
    found: list[tuple[int, Any]] = []
    for term in words.split("+"):
        copies, _, kind = term.strip().partition("x")
        if kind.strip() == "regular" and copies.strip().isdigit():
            found.append((int(copies), "regular"))
            continue
        (read,) = read_types(term)
        if read.pseudo:
            raise InvalidSetting(
                got=f"pseudo-tensors {term.strip()!r} among the channels of {name!r}",
                expected="copies x rank, or copies x regular",
                remedy="For example '8x0 + 4x1', or '8xregular' for a finite group.",
            )
        found.append((read.copies, read.rank))
    return found


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
    """Blocks of one size that all look at the same bases.

    Args:
        index: (n, m), places in all parameters one after the other.
        owner: (n,), the parameter of every block.
        basis: (m, R), orthonormal bases of several groups side by side.
        member: (R, G) of zeros and ones: whose column it is.
        looks: (G,) of zeros and ones: which groups look at these blocks.
    """

    index: Tensor
    owner: Tensor
    basis: Tensor
    member: Tensor
    looks: Tensor


@final
class Blocks:
    """All parameters under study, cut into blocks, with the maps of every group.

    Args:
        found: For every group the blocks of every parameter.
        sizes: Numbers of every parameter.
    """

    def __init__(self, found: Sequence[Sequence[Sequence[KernelMaps]]], sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self.free = torch.tensor(
            [[1 - sum(len(b.index) * b.basis.shape[1] for b in blocks) / size for blocks in maps] for maps, size in
             ((parameters, size) for parameters, size in zip(zip(*found, strict=True), sizes, strict=True))],
            dtype=torch.float64,
        )
