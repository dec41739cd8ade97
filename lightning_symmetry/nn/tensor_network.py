"""A network of tensors: plain linear layers between products and gates that know about rotations."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.tensor_types import (
    TensorType,
    Types,
    count_numbers,
    read_types,
    uniform_types,
    write_types,
)


@final
class GatedTensorNetwork(nn.Module):
    r"""Blocks of a linear layer, products of tensors, and gates; then a last linear layer.

        h = W x + b,   v = h + products(h),   x' = sigmoid(gate) v + w swish(v)

    Features are tensors of known ranks, see `TensorType`. The products contract them in every way that O(d) allows, and
    a gate is a scalar that multiplies a whole tensor, so that both keep all rotations and mirrors. The linear layers
    are ordinary ones without any constraint, and so are the small weights w: what the network is equivariant under is
    decided by its weights, which `Projection` measures and presses. Where they commute with a subgroup of O(d), and w
    is 0, so does the network.

    Args:
        types_in: Of the input, such as "5x0 + 5x1".
        types_out: Of the answer, such as "1x2".
        hidden: Types between the blocks, or their width, shared evenly among ranks 0 to 2, see `uniform_types`.
        layers: Number of linear layers; one less is that of blocks.
        dim: Dimension d of the space.
        homogeneous: Divide every contracted pair of indices by the lengths of its tensors, so that the products turn a
            scaling of space into that of their rank: they keep scalings, too.
        leak: Initial value of w.

    Raises:
        SentenceError: Types cannot be read.
        InvalidSetting: There is no layer, or pseudo-tensors are hidden.

    References:
        The architecture is that of Finzi, Welling and Wilson, A Practical Method for Constructing Equivariant
        Multilayer Perceptrons, 2021, with the soft gates of Kim et al., arXiv 2306.00356; its products are ours.

    Example:
        >>> net = GatedTensorNetwork("5x0 + 5x1", "1x2", hidden="6x0 + 3x1 + 1x2", layers=2)
        >>> net(torch.randn(4, 20)).shape
        torch.Size([4, 9])
        >>> net.types()["blocks.0.linear"]
        '5x0 + 5x1 -> 6x0 + 3x1 + 1x2 + 4x0'
    """

    def __init__(
        self,
        types_in: str,
        types_out: str,
        hidden: str | int = 128,
        layers: int = 4,
        dim: int = 3,
        homogeneous: bool = False,
        leak: float = 1e-3,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise InvalidSetting(f"layers={layers}", "at least 1", "Four is the published number.")
        between = read_types(uniform_types(hidden, 2, dim) if isinstance(hidden, int) else hidden)
        first, last = read_types(types_in), read_types(types_out)
        if any(t.pseudo for t in between):
            raise InvalidSetting(f"hidden={hidden!r}", "tensors without p", "Their products would need another sign.")
        sides = [first] + [between] * (layers - 1)
        self.blocks = nn.Sequential(*[_Block(types, between, dim, homogeneous, leak) for types in sides[:-1]])
        self.last = _make_linear(sides[-1], last, dim)
        told = [_write(types, _gated(between)) for types in sides[:-1]]
        self._types = {f"blocks.{i}.linear": words for i, words in enumerate(told)}
        self._types["last"] = _write(sides[-1], last)

    def types(self) -> dict[str, str]:
        """Tell the types of every linear layer's features, as `Projection` reads them."""
        return dict(self._types)

    def leakage(self) -> Tensor:
        """Sum the squares of the weights w, which no rotation keeps; the published loss holds them down with it."""
        leaks = [p.square().sum() for name, p in self.named_parameters() if name.endswith("leak")]
        return torch.stack(leaks).sum() if leaks else self.last.weight.new_zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Answer: (B, n) -> (B, m)."""
        answer: Tensor = self.last(self.blocks(x))
        return answer


@final
class _Block(nn.Module):
    """A linear layer, products, gates."""

    def __init__(self, types_in: Types, hidden: Types, dim: int, homogeneous: bool, leak: float) -> None:
        super().__init__()
        self.linear = _make_linear(types_in, _gated(hidden), dim)
        self.products = _Products(hidden, dim, homogeneous)
        self.leak = nn.Parameter(torch.full((count_numbers(hidden, dim),), leak))
        self.width = count_numbers(hidden, dim)
        # which number gates each of them: scalars gate themselves
        places, start, gate = [], 0, self.width
        for t in hidden:
            copies = torch.arange(t.copies) + (gate if t.rank else start)
            places.append(copies.repeat_interleave(dim**t.rank))
            start, gate = start + t.size(dim), gate + (t.copies if t.rank else 0)
        self.gate: Tensor
        self.register_buffer("gate", torch.cat(places), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        values = h[:, : self.width]
        values = values + self.products(values)
        gates = torch.cat((values, h[:, self.width :]), 1).index_select(1, self.gate)
        return torch.sigmoid(gates) * values + self.leak * F.silu(values)


@final
class _Products(nn.Module):
    """Products of pairs of tensors, contracted over 0, 1, ... indices, and mixed into each rank."""

    def __init__(self, types: Types, dim: int, homogeneous: bool) -> None:
        super().__init__()
        self.types, self.dim, self.homogeneous = types, dim, homogeneous
        self.ranks = sorted({t.rank for t in types})
        copies = {rank: sum(t.copies for t in types if t.rank == rank) for rank in self.ranks}
        # (left rank, right rank, contracted indices); the linear layer before mixes copies, so that one pairing serves
        self.pairs = [
            (p, q, c)
            for q, p in combinations_with_replacement(self.ranks, 2)
            for c in range(q + 1)
            if p + q - 2 * c in copies
        ]
        self.mixing = nn.ParameterDict()
        for rank in self.ranks:
            found = sum(copies[p] for p, q, c in self.pairs if p + q - 2 * c == rank)
            self.mixing[str(rank)] = nn.Parameter(0.1 * torch.randn(copies[rank], found) / max(found, 1) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(zip(x.split([t.size(self.dim) for t in self.types], 1), self.types, strict=True))
        # (B, d^rank, n): copies last, since they are many and indices few
        tensors = {
            rank: torch.cat([part for part, t in parts if t.rank == rank], 1)
            .unflatten(1, (-1, self.dim**rank))
            .mT.contiguous()
            for rank in self.ranks
        }
        found: dict[int, list[Tensor]] = {}
        for p, q, c in self.pairs:
            found.setdefault(p + q - 2 * c, []).append(self._contract(tensors[p], tensors[q], p, q, c))
        mixed = {
            rank: F.linear(torch.cat(terms, 2), self.mixing[str(rank)]).mT.flatten(1) for rank, terms in found.items()
        }
        answers, used = [], dict.fromkeys(self.ranks, 0)
        for part, t in parts:
            start, used[t.rank] = used[t.rank], used[t.rank] + part.shape[1]
            answers.append(mixed[t.rank][:, start : used[t.rank]] if t.rank in mixed else torch.zeros_like(part))
        return torch.cat(answers, 1)

    def _contract(self, left: Tensor, right: Tensor, p: int, q: int, c: int) -> Tensor:
        """Contract the last c indices of one with the first c of the other, copy by copy: (B, d^(p+q-2c), n)."""
        if self.homogeneous and c:
            left, right = (
                t / torch.linalg.vector_norm(t, dim=1, keepdim=True).clamp_min(1e-6) ** (c / rank)
                for t, rank in ((left, p), (right, q))
            )
        # the neighbour of each, so that tensors of one kind meet each other
        right = _repeat(right.roll(1, 2) if p == q else right, left.shape[2])
        left, right = left.unflatten(1, (-1, self.dim**c, 1)), right.unflatten(1, (1, self.dim**c, -1))
        product = left * right
        return (product.sum(2) if c else product.squeeze(2)).flatten(1, 2)


def _repeat(x: Tensor, count: int) -> Tensor:
    """Repeat copies, (B, m, n), until there are ``count``, or take the first."""
    return x if x.shape[2] == count else x.repeat(1, 1, -(-count // x.shape[2]))[:, :, :count]


def _gated(types: Types) -> Types:
    """Add a scalar for every tensor that is gated by another number than itself."""
    gates = sum(t.copies for t in types if t.rank)
    return (*types, TensorType(gates, 0)) if gates else types


def _write(types_in: Types, types_out: Types) -> str:
    return f"{write_types(types_in)} -> {write_types(types_out)}"


def _make_linear(types_in: Types, types_out: Types, dim: int) -> nn.Linear:
    layer = nn.Linear(count_numbers(types_in, dim), count_numbers(types_out, dim))
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
