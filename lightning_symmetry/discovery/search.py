"""`discover`: read the symmetries out of any differentiable map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_symmetry.differentiation import Map
from lightning_symmetry.discovery.discovery import Discovery
from lightning_symmetry.discovery.extraction import read_generators
from lightning_symmetry.discovery.gram import FOLDS, GeneratorGram
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import Group
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

# Rows that go through the map at once where the data are one structure.
_CHUNK = 512
# Samples that the finite check is made on.
_KEPT = 256


def discover(
    f: Map,
    data: Any,
    symmetry: Symmetry | str,
    delta: float = 0.1,
    truth: Symmetry | Group | Tensor | None = None,
    backend: str = "auto",
    folds: int = FOLDS,
    null: bool = True,
    sketch: int = 0,
    progress: bool = False,
) -> Discovery:
    """Find all one-parameter transformations that a trained map respects, among the candidates of a group.

    Solves ``J(x) zeta_a(x) = omega_a(f(x)) + b f(x)`` in the least-squares sense for coefficients a of the candidates
    and matrices b of outputs that are ``learned``, by one generalised eigenproblem ``G theta = rho^2 D theta``. The
    defect rho is 0 for a symmetry and 1 for what does as badly as a random direction of the same length; D cancels the
    units of the input as a whole and of the output. Nothing is trained.

    Args:
        f: A trained map, such as a module; from an input structure of B samples to an output structure. Modules are put
            into evaluation mode for the time being.
        data: A tensor, a structure of tensors, or an iterable of such inputs, for example a loader (of its pairs
            ``(x, y)`` the first is taken).
        symmetry: Candidates and actions: "GL(3) on vector -> scalar" (invariance), "affine on image -> label" (classes,
            compared by the Fisher metric), "GL(2) on points -> points" (the same on both sides), "GL(6) on vector ->
            learned" (any linear action on the output), "polynomials(2) on points -> velocity" (an ODE), "polynomials(2)
            on jet(...) -> scalar" (the residual of a PDE, on solutions).
        delta: A generator is declared when the upper 95 % bound of its defect lies below.
        truth: What the data are known to have, if anything; its cosine is reported.
        backend: Of the derivatives, see `differentiate`.
        folds: Of the jackknife.
        null: Whether to measure what derivatives paired with other samples show.
        sketch: Random combinations of the output a sample, in place of all its numbers: cheaper for wide outputs.
        progress: Show a progress bar.

    Returns:
        The discovery: symmetry, spectrum with intervals, verdict, readable generators.

    Raises:
        InvalidSetting: There are no data, they are not finite, or a setting makes no sense.
        AmbiguousPath, ActionMismatch, DimensionMismatch: The data do not fit the symmetry.

    References:
        Moskalev et al., LieGG, 2022; Hu, Li and Lin, LieNLSD, 2025; Otto et al., 2025.

    Example:
        >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        >>> found = discover(lambda x: x.norm(dim=1), x, "GL(3) on vector -> scalar")
        >>> found.verdict, found.spectrum.declared, found.canonical_names[0]
        ('symmetric', 3, 'rotation about z')
    """
    if not (isinstance(delta, (int, float)) and 0 < delta < 1):
        raise InvalidSetting(f"delta={delta}", "a share between 0 and 1", "Use the default, 0.1.")
    gram = GeneratorGram(symmetry, backend, folds, null, sketch)
    kept: list[Any] = []
    modes = {m: m.training for m in f.modules()} if isinstance(f, nn.Module) else {}
    device = next((p.device for p in f.parameters()), None) if isinstance(f, nn.Module) else None
    if isinstance(f, nn.Module):
        f.eval()
    try:
        with torch.no_grad():
            for batch in _show(_read(data), progress):
                x = replace_leaves(batch, {p: t.to(device) for p, t in find_leaves(batch).items()})
                gram.update(f, x)
                if sum(len(gram.symmetry.leading(one)) for one in kept) < _KEPT:
                    kept.append(x)
            if not kept:
                raise InvalidSetting("data without a single batch", "at least one", "Look at the loader's length.")
            return read_generators(gram, f, _join(kept, gram.symmetry), delta, truth, "given")
    finally:
        for module, mode in modes.items():
            module.training = mode


def _read(data: Any) -> Iterator[Any]:
    """Go through the data in batches."""
    if isinstance(data, tuple) and not hasattr(data, "_fields") and all(isinstance(part, Tensor) for part in data):
        # a pair of inputs and targets, as data sets deal them
        data = data[0]
    if isinstance(data, (np.ndarray, Dataset)):
        loader = isinstance(data, Dataset)
        raise InvalidSetting(
            got=f"data of type {type(data).__name__}",
            expected="a tensor, a structure of tensors, or an iterable of such inputs",
            remedy="Put it into a DataLoader." if loader else "Use torch.from_numpy(data).",
        )
    if isinstance(data, Tensor) or _is_structure(data):
        leaves = {path: leaf for path, leaf in find_leaves(data).items() if leaf.ndim}
        sizes = {len(leaf) for leaf in leaves.values()}
        if Rows.of(data).are_ragged or len(sizes) != 1:
            yield data
            return
        for start in range(0, next(iter(sizes)), _CHUNK):
            yield replace_leaves(data, {path: leaf[start : start + _CHUNK] for path, leaf in leaves.items()})
        return
    if not isinstance(data, Iterable):
        raise InvalidSetting(
            got=f"data of type {type(data).__name__}",
            expected="a tensor, a structure of tensors, or an iterable of such inputs",
            remedy="Give the inputs of the map.",
        )
    for batch in data:
        yield batch[0] if isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields") else batch


def _is_structure(data: Any) -> bool:
    named = isinstance(data, Mapping) or hasattr(data, "_fields") or hasattr(data, "edge_index")
    return named or (not hasattr(data, "__iter__") and bool(find_leaves(data)))


def _join(kept: list[Any], symmetry: Symmetry) -> Any:
    """Put the first batches together; of graphs the first alone."""
    x, rows = kept[0], len(symmetry.leading(kept[0]))
    if Rows.of(x).are_ragged:
        return x
    paths = [path for path, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == rows]
    alike = [b for b in kept if all(get_leaf(b, p).shape[1:] == get_leaf(x, p).shape[1:] for p in paths)]
    x = replace_leaves(x, {path: torch.cat([get_leaf(one, path) for one in alike]) for path in paths})
    rows = len(symmetry.leading(x))
    if rows <= _KEPT:
        return x
    return replace_leaves(x, {p: leaf[:_KEPT] for p, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == rows})


def _show(batches: Iterator[Any], progress: bool) -> Iterable[Any]:
    if not progress:
        return batches
    from tqdm.auto import tqdm  # comes with Lightning

    return tqdm(batches, desc="reading generators", unit="batch")
