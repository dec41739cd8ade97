"""Which layer breaks the symmetry: the Lie derivative of a network, split over its layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import sum_over_ranks
from lightning_symmetry.functional.precision import full_precision
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.metrics.attribution import Attribution
from lightning_symmetry.metrics.base import Map, differentiating, name_keys
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

BETWEEN = "(between layers)"
"""Name of what no layer accounts for: reshapes and other operations that are no modules."""


@final
@dataclass(frozen=True, eq=False)
class LayerDerivatives:
    """What each layer contributes to the Lie derivative of a network; results on other samples add.

    Args:
        generators: Names of the K generators.
        layers: Names of the L layers in the order of their first call, then `BETWEEN`.
        kinds: Their classes.
        sums: (L + 2, K, 3), over samples: for each layer of the magnitude, of its square, and of the inner product with
            the whole; last the squared size of the whole, the number of samples, and 0.
    """

    generators: tuple[str, ...]
    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    sums: Tensor

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.sums[-1, 0, 1])

    @property
    def total(self) -> Tensor:
        """(K,), ``E|L_k f|^2``."""
        return self.sums[-1, :, 0] / self.samples

    @property
    def magnitude(self) -> Tensor:
        """(L + 1, K), ``E|D(f_N ... f_i+1) L_k f_i|^2``."""
        return self.sums[:-1, :, 0] / self.samples

    @property
    def magnitude_se(self) -> Tensor:
        """(L + 1, K), standard errors over samples."""
        variance = self.sums[:-1, :, 1] / self.samples - self.magnitude.square()
        return (variance.clamp_min(0) / max(self.samples - 1, 1)).sqrt()

    @property
    def share(self) -> Tensor:
        """(L + 1, K), ``E<D(f_N ... f_i+1) L_k f_i, L_k f> / E|L_k f|^2``; may be negative, and columns sum to 1."""
        return _divide(self.sums[:-1, :, 2], self.sums[-1, :, 0])

    @property
    def overall_share(self) -> Tensor:
        """(L + 1,), of all generators together."""
        return _divide(self.sums[:-1, :, 2].sum(1), self.sums[-1, :, 0].sum())

    def __add__(self, other: LayerDerivatives) -> LayerDerivatives:
        """Add what the same layers contribute on other samples; a layer that one of both did not call added nothing."""
        kinds = dict(zip(self.layers, self.kinds, strict=True)) | dict(zip(other.layers, other.kinds, strict=True))
        names = [name for name in kinds if name != BETWEEN] + [BETWEEN]
        places = {name: place for place, name in enumerate([*names, ""])}
        sums = self.sums.new_zeros(len(places), *self.sums.shape[1:])
        for one in (self, other):
            sums[[places[name] for name in (*one.layers, "")]] += one.sums.to(sums)
        return LayerDerivatives(self.generators, tuple(names), tuple(kinds[name] for name in names), sums)

    def over_ranks(self) -> LayerDerivatives:
        """Add what all processes found, which must have called the same layers."""
        return replace(self, sums=sum_over_ranks(self.sums))

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Lay everything out as a table: the header, and one row a layer and generator."""
        header = ["layer", "kind", "generator", "share", "magnitude", "magnitude_se"]
        columns = (self.share, self.magnitude, self.magnitude_se)
        return header, [
            [layer, self.kinds[i], name, *(f"{float(column[i, k]):.6g}" for column in columns)]
            for i, layer in enumerate(self.layers)
            for k, name in enumerate(self.generators)
        ]


def _divide(parts: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, parts / whole.clamp_min(torch.finfo(whole.dtype).tiny), 0.0)


def layerwise_lie_derivative(
    module: nn.Module,
    x: Any,
    symmetry: Any,
    layers: str | None = None,
    kinds: Sequence[str] = (),
    features: Mapping[str, str] | None = None,
    probes: int = 16,
    derivative: str | None = None,
    forward: Map | None = None,
    names: Sequence[str] | None = None,
    chunk: int = 8,
    seed: int = 0,
) -> LayerDerivatives:
    """Split the Lie derivative of a network over its layers.

    For ``f = f_N ... f_1`` with x_i entering layer i, ``L f(x) = sum_i D(f_N ... f_i+1) (L f_i)(x_i)``, for any network
    whose layers branch and join as well. The magnitude of a term is estimated with probes z of the standard normal law,
    ``E_z (z^T D(f_N ... f_i+1) L f_i)^2``: a backward of ``z^T f`` gives the row vector at every layer at once. The
    share of a term is its inner product with the whole, from one backward with ``z = L f``, exact and without probes.

    The terms depend on how features are said to move; their sum does not. The features of a network whose input is an
    image move as images where they are of shape (B, C, H, W) with H and W above 1; the output as the symmetry says; and
    all others not at all, until ``features`` says so. Tokens in particular are never guessed from their number.

    Args:
        module: The network; it runs in evaluation mode, and is left as it was.
        x: Its input structure of B samples.
        symmetry: Group and actions; a sentence or a mapping will do.
        layers: Regular expression, searched for in the dotted names; by default all modules without children, and
            attention.
        kinds: Names of classes, such as "Conv2d"; layers of other kinds are left out.
        features: Regular expression of layer names to the action of what these layers give, such as
            ``{"blocks": "tokens(1)"}``; the first that is found counts.
        probes: Backwards for the magnitudes.
        derivative: Of content on grids: "spectral", "central" or "bilinear"; None leaves it to the input's action.
        forward: How the network answers an input structure; by default ``module(x)``.
        names: Of the generators; by default they are counted.
        chunk: Samples that go through the network together.
        seed: Of the probes.

    Returns:
        Magnitudes and shares.

    Raises:
        InvalidSetting: No module fits, or a setting makes no sense.

    Cost: for each chunk one forward, K derivatives of each layer, ``probes`` + K backwards, and the features in memory
    K + 2 times.

    References:
        Gruver et al., The Lie derivative for measuring learned equivariance, arXiv 2210.02984, section 4.2.
    """
    symmetry = Symmetry.of(symmetry)
    if probes < 1 or chunk < 1:
        raise InvalidSetting(f"probes={probes}, chunk={chunk}", "positive numbers", "Try 16 and 8.")
    chosen = _choose(module, layers, kinds)
    parts = [x] if Rows.of(x).are_ragged else list(_split(x, symmetry, chunk))
    sums: Tensor | None = None
    with _evaluating(module), torch.inference_mode(False), torch.enable_grad(), differentiating(symmetry, derivative):
        for number, part in enumerate(parts):
            plain = replace_leaves(part, {path: leaf.detach().clone() for path, leaf in find_leaves(part).items()})
            attribution = Attribution(symmetry, chosen, features or {}, derivative)
            added = attribution.measure(forward or module, plain, probes, Rng(seed, number))
            sums = added if sums is None else sums + added
    if sums is None:
        raise InvalidSetting("no sample", "at least one", "Pass a batch.")
    keys, order = name_keys(names, symmetry.group, symmetry.group.count), attribution.order
    places = [*map(list(chosen).index, order), len(chosen), len(chosen) + 1]
    kinds_called = (*(type(chosen[name]).__name__ for name in order), "")
    return LayerDerivatives(tuple(keys), (*(name or "." for name in order), BETWEEN), kinds_called, sums[places])


def _choose(module: nn.Module, layers: str | None, kinds: Sequence[str]) -> dict[str, nn.Module]:
    """Take the layers by name and kind; of those that lie within each other the outermost."""
    chosen: dict[str, nn.Module] = {}
    for name, layer in module.named_modules():
        inside = any(name.startswith(f"{outer}.") or not outer for outer in chosen)
        fits = _is_layer(layer) if layers is None and not kinds else True
        fits &= layers is None or (bool(name) and re.search(layers, name) is not None)
        fits &= not kinds or type(layer).__name__ in kinds
        if fits and not inside:
            chosen[name] = layer
    if not chosen:
        some = sorted({type(layer).__name__ for layer in module.modules()})
        names = [name for name, _ in module.named_modules() if name][:8]
        raise InvalidSetting(
            got=f"layers={layers!r}, kinds={list(kinds)}, which no module of {type(module).__name__} fits",
            expected=f"a pattern of names such as {', '.join(names)}, or kinds of {', '.join(some)}",
            remedy="Correct it, or leave both out for all layers.",
        )
    return chosen


def _is_layer(layer: nn.Module) -> bool:
    return isinstance(layer, nn.MultiheadAttention) or all(n == "parametrizations" for n, _ in layer.named_children())


def _split(x: Any, symmetry: Symmetry, size: int) -> Iterator[Any]:
    """Cut an ordinary batch."""
    samples = len(symmetry.leading(x))
    leaves = {path: leaf for path, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == samples}
    for first in range(0, samples, size):
        yield replace_leaves(x, {path: leaf[first : first + size] for path, leaf in leaves.items()})


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode in full precision, without fused layers, which hide theirs; all is put back."""
    modes = [(part, part.training) for part in module.modules()]
    tensor = next(module.parameters(), None)
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with full_precision(torch.device("cpu") if tensor is None else tensor.device):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for part, training in modes:
            part.training = training
