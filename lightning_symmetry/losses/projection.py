"""How far the weights are from commuting with a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.equivariant_maps import EquivariantMaps
from lightning_symmetry.losses.base import Loss
from lightning_symmetry.losses.blocks import Blocks, find_maps
from lightning_symmetry.losses.call import Call
from lightning_symmetry.losses.layers import TypedLayer, find_layers
from lightning_symmetry.losses.matrices import Matrices
from lightning_symmetry.symmetry import Symmetry

_FORMS = ("mse", "logmse", "cosine")


@final
class Projection(Loss):
    r"""Squared distance of weights and biases from the maps that commute with the group: no forward, no samples.

        R_k = sum_l 1/2 || W_l - P_k W_l ||^2 + 1/2 || b_l - P_k b_l ||^2

    with the orthogonal projection P_k onto ``{W : rho_out(g) W = W rho_in(g)}``, exact and block by block: the features
    of every layer are tensors of known ranks, alike for all groups. Weights that commute make an equivariant network
    only if what lies between the layers commutes too, as in `GatedTensorNetwork`; for other networks this is a push in
    a direction of known meaning, and the features have to be chosen. Convolutions are taken as maps on a grid, see
    `kernel_maps`; a group of non-orthogonal matrices is welcome for Linear layers.

    Args:
        types: Dotted name of a layer below the network to its features, such as "5x0 + 5x1 -> 20x0 + 10x1", for
            channels also "8xreg"; other layers are left alone. None asks the network for ``types()``; else takes all
            convolutions, channels as scalars; else a chain of Linear layers, its ends typed by the sentence (tensors,
            vector or scalar) and its hidden layers in even shares of ranks 0 to 2, see `uniform_types`.
        normalise: Divide by what random weights of the same sizes would give, sum_p ||W_p||^2 (1 - dim_k / dim) / 2, so
            that 1 means no trace of the symmetry, whatever the scale of the weights and the size of the group; False is
            the published value.
        bias: Whether biases count.
        form: "mse" as above; "logmse", the sum over weights and biases of log || W - P_k W ||^2 (normalised, the mean
            of that of each one's ratio); "cosine", the sum of 1 - cos(W, P_k W).

    Raises:
        InvalidSetting: The form is unknown. On the first batch: there is no such layer, types and widths do not fit,
            every map commutes, or the group has no fixed matrices.

    Cost: one pass over the parameters and a small matrix product for each pair of ranks, whatever the number of groups.

    References:
        Kim et al., Regularizing Towards Soft Equivariance Under Mixed Symmetries, ICML 2023, arXiv 2306.00356.

    Example:
        >>> Projection({"0": "2x1 -> 1x1"}).key
        'projection'
    """

    views = 0
    needs_output = False

    def __init__(
        self, types: Mapping[str, str] | None = None, normalise: bool = True, bias: bool = True, form: str = "mse"
    ) -> None:
        super().__init__()
        if form not in _FORMS:
            raise InvalidSetting(f"form={form!r}", f"one of {_FORMS}", "The published default is 'mse'.")
        self.types = None if types is None else dict(types)
        self.normalise, self.bias, self.form = normalise, bias, form
        self._plans: list[_Plan] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made from a network, and the network with it."""
        return {**super().__getstate__(), "_plans": []}

    def forward(self, call: Call) -> Tensor:
        """Return a scalar."""
        return self.evaluate([call])[0]

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Measure all groups at once."""
        plan = self._plan(calls)
        tensors = [getattr(layer, name) for layer, name in plan.places]
        if self.form == "mse":
            return plan.blocks.measure(tensors, self.normalise)
        values = self._weigh(*plan.blocks.measure_apart(tensors), plan.blocks.free)
        return list(values.to(torch.promote_types(tensors[0].dtype, torch.float32)).unbind())

    def _weigh(self, residual: Tensor, sizes: Tensor, free: Tensor) -> Tensor:
        """Make (G,) values of squared residuals (P, G) and squared sizes (P, 1)."""
        # a parameter that is zero, or that every map may have, says nothing
        speaks = (sizes > 0) & (free > 0)
        ratio = torch.where(speaks, residual, 1.0) / torch.where(speaks, sizes, 1.0)
        if self.form == "cosine":
            return torch.where(speaks, 1 - (1 - ratio).clamp_min(1e-12).sqrt(), 0.0).sum(0)
        share = ratio / torch.where(speaks, free, 1.0) if self.normalise else torch.where(speaks, residual, 1.0)
        logs = torch.where(speaks, share.log(), 0.0).sum(0)
        return logs / speaks.sum(0) if self.normalise else logs

    def _plan(self, calls: Sequence[Call]) -> _Plan:
        module, symmetries = calls[0].module, [call.symmetry for call in calls]
        assert module is not None, "a loss on the weights is given the network"
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        for plan in self._plans:
            if plan.fits(module, symmetries, device):
                return plan
        # several networks or choices of symmetries may alternate
        self._plans = [*self._plans[-3:], _Plan.of(module, symmetries, self.types, self.bias, device)]
        return self._plans[-1]


@final
@dataclass(frozen=True)
class _Plan:
    """What is looked at in one network, for some symmetries."""

    module: nn.Module
    symmetries: list[Symmetry]
    places: list[tuple[nn.Module, str]]
    blocks: Blocks

    @classmethod
    def of(
        cls,
        module: nn.Module,
        symmetries: list[Symmetry],
        types: Mapping[str, str] | None,
        bias: bool,
        device: torch.device,
    ) -> _Plan:
        """Find layers, types and bases."""
        found, layers = [], list[TypedLayer]()
        for symmetry in symmetries:
            matrices = Matrices.of(symmetry.group)
            maps = EquivariantMaps(matrices.generators, matrices.elements, matrices.tolerance)
            layers = find_layers(module, symmetry, types)
            found.append([find_maps(typed, matrices, maps, bias) for typed in layers])
        places: list[tuple[nn.Module, str]] = [
            (typed.layer, name) for typed, parts in zip(layers, found[0], strict=True) for name in parts
        ]
        sizes = [getattr(layer, name).numel() for layer, name in places]
        blocks = Blocks([[maps for parts in layer for maps in parts.values()] for layer in found], sizes, device)
        for symmetry, free in zip(symmetries, blocks.free.mT, strict=True):
            if not bool((free > 0).any()):
                raise InvalidSetting(
                    got=f"{symmetry.sentence!r} for layers of {', '.join(sorted({t.types_out for t in layers}))}",
                    expected="features that the group moves: as it is, all weights commute with it",
                    remedy="Name tensors of higher rank, or measure by samples with Equivariance().",
                )
        return cls(module, symmetries, places, blocks)

    def fits(self, module: nn.Module, symmetries: Sequence[Symmetry], device: torch.device) -> bool:
        """Tell whether it was made for these."""
        same = len(symmetries) == len(self.symmetries) and all(map(lambda a, b: a is b, symmetries, self.symmetries))
        return module is self.module and same and device == self.blocks.device
