"""From a `GeneratorGram` to a `Discovery`: readable generators, finite checks, names, verdict."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.actions import Representation
from lightning_symmetry.differentiation import Map
from lightning_symmetry.discovery.assembly import compare_to_truth, make_canonical
from lightning_symmetry.discovery.discovery import Discovery, GeneratorEvidence
from lightning_symmetry.discovery.evidence import (
    LARGEST_CONTROL,
    RANDOM_DIRECTIONS,
    REFUSED_SHARE,
    GeneratorVerdict,
    Verdict,
    measure_violation,
    random_violation,
)
from lightning_symmetry.discovery.formulas import name_found_one
from lightning_symmetry.discovery.gram import GeneratorGram
from lightning_symmetry.discovery.solution import Solution
from lightning_symmetry.discovery.spectrum import Spectrum
from lightning_symmetry.functional.spans import lie_closure_residual
from lightning_symmetry.groups import Group
from lightning_symmetry.paths import find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry

# Coefficients that are smaller, relative to the largest of a generator, are errors of the fit.
_SPAN = 1e-3
_FEW, _FEW_DIRECTIONS = 64, 2
# An invariance plus something else is none, so that invariances come first and stay as they are.
_ORDER = {"invariance": 0, "equivariance": 2}


def read_generators(
    gram: GeneratorGram,
    f: Map,
    x: Any,
    delta: float = 0.1,
    truth: Symmetry | Group | Tensor | None = None,
    held_out: str = "validation",
) -> Discovery:
    """Solve, and turn what was declared into generators that can be read and used again.

    The declared span is rotated into a sparse basis (`canonical_basis`), kind by kind: invariances, homogeneity and
    what moves the output stay apart. Every generator is named, and followed for a finite time on real samples
    (`measure_violation`), which sees what a derivative cannot: borders, kinks, the end of the data.

    Args:
        gram: That has seen the data, on every process.
        f: The map, in evaluation mode.
        x: Some samples for the finite check.
        delta: A direction is declared whose upper 95 % bound of the defect lies below.
        truth: What the data are known to have, if anything.
        held_out: "validation", "training", "test" or "given": where the data come from.

    Returns:
        The discovery; ``spectrum.refused`` says where nothing could be told.

    Raises:
        InvalidSetting: Nothing was seen, or delta is no share.
    """
    solution = gram.read(delta)
    symmetry, spectrum = gram.symmetry, solution.spectrum
    f = symmetry.lift(f)
    coefficients, weights, labels = _read_basis(solution, symmetry)
    found = _build(symmetry, coefficients, weights)
    finite, control = _check_finite(f, x, found, symmetry)
    verdict = _judge(spectrum)
    status: GeneratorVerdict = "accepted" if spectrum.declared else "violated" if verdict == "absent" else "undecided"
    names = [name_found_one(one, found) for one in coefficients]
    evidence = tuple(
        GeneratorEvidence(
            index=k,
            norm=float(coefficients[k].norm()),
            violation=finite[k],
            random_violation=control,
            verdict=status,
            name=names[k].name,
            cosine_to_name=names[k].cosine,
            matrix=tuple(map(tuple, coefficients[k].tolist())),
            label=labels[k],
        )
        for k in range(len(coefficients))
    )
    doubts = [f"generator {g.index} ({g.name})" for g in evidence if spectrum.declared and _fails_when_finite(g)]
    doubted = [f"{one} holds for small steps, but not for finite ones: look for borders and kinks." for one in doubts]
    declared = coefficients if spectrum.declared else coefficients[:0]
    sizes = coefficients.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, 1, 1)
    cosine, remark = compare_to_truth(coefficients / sizes, symmetry.group, truth)
    rank = _pointwise_rank(found, x) if spectrum.declared and spectrum.multiples else None
    return Discovery(
        symmetry=found,
        name=symmetry.name,
        verdict=verdict,
        generators=evidence,
        canonical=declared,
        canonical_names=tuple(n.name for n in names) if spectrum.declared else (),
        canonical_cosines=tuple(n.cosine for n in names) if spectrum.declared else (),
        coverage=math.nan,
        closure=lie_closure_residual(declared) if spectrum.declared and symmetry.group.linear else None,
        cosine=cosine,
        held_out=held_out,
        notes=(*remark, *gram.notes, *doubted, *solution.notes),
        spectrum=dataclasses.replace(spectrum, pointwise_rank=rank),
    )


def _fails_when_finite(evidence: GeneratorEvidence) -> bool:
    """Whether a generator does as badly as a random one once it is followed for a finite time."""
    control = min(evidence.random_violation or LARGEST_CONTROL, LARGEST_CONTROL)
    return evidence.violation > REFUSED_SHARE * control


def _judge(spectrum: Spectrum) -> Verdict:
    if spectrum.declared:
        return "symmetric"
    # none is as good as delta, up to errors
    clear = spectrum.directions and not spectrum.refused and all(d.low > spectrum.delta for d in spectrum.directions)
    return "absent" if clear else "undecided"


def _read_basis(solution: Solution, symmetry: Symmetry) -> tuple[Tensor, dict[str, Tensor], list[str]]:
    """Give sparse generators, what each does to learnt outputs, and its label; the best direction where none holds."""
    candidates = symmetry.group.coefficients().detach().to("cpu", torch.float64)
    count, spectrum = len(candidates), solution.spectrum
    vectors = solution.declared if spectrum.declared else solution.vectors[:, :1]
    labels = [d.label for d in spectrum.directions[: vectors.shape[1]]]
    parts: list[Tensor] = []
    mixing: list[Tensor] = []
    names: list[str] = []
    before = torch.zeros(0, candidates[0].numel(), dtype=torch.float64)
    for label in sorted(set(labels), key=lambda one: (_ORDER.get(one, 1), labels.index(one))):
        own = vectors[:, [i for i, one in enumerate(labels) if one == label]]
        flat = own[:count].mT @ candidates.flatten(1)
        if len(before) and label == "equivariance":
            # what it has of the others is a matter of choice
            shares = torch.linalg.lstsq(before.mT, flat.mT).solution
            flat = flat - shares.mT @ before
            own = own - torch.cat(mixing, 1) @ shares
        basis = make_canonical(symmetry.group, flat.reshape(-1, *candidates.shape[1:]), _SPAN).to(torch.float64)
        parts.append(basis)
        names += [label] * len(basis)
        mixing.append(own @ torch.linalg.lstsq(flat.mT, basis.flatten(1).mT).solution)
        before = torch.cat([before, basis.flatten(1)])
    if not parts:
        return candidates[:0], {}, []
    weights, start, mixed = {}, count, torch.cat(mixing, 1)
    for path, action in symmetry.output.moving:
        if isinstance(action, Representation):
            size = action.generators().shape[-1]
            entries = size * (size - action.translates)
            own = mixed[start : start + entries].mT.reshape(-1, entries // size, size)
            weights[path] = torch.nn.functional.pad(own, (0, 0, 0, int(action.translates)))
            start += entries
    return torch.cat(parts), weights, names


def _build(symmetry: Symmetry, coefficients: Tensor, weights: dict[str, Tensor]) -> Symmetry:
    """Copy a symmetry with fixed generators in place of the candidates."""
    found = copy.deepcopy(symmetry)
    fixed = symmetry.group.fix(coefficients.to(symmetry.group.coefficients()))
    found.sampler = Uniform(fixed)
    for path, action in found.output.moving:
        if isinstance(action, Representation):
            action.restore(weights[path].to(action.generators()))
    return found.requires_grad_(False)


def _check_finite(f: Map, x: Any, found: Symmetry, symmetry: Symmetry) -> tuple[list[float], float | None]:
    """Violations of the finite transformations, and of random ones where these can be made."""
    if not found.group.count:
        return [], None
    learnt = any(isinstance(action, Representation) for _, action in found.output.moving)
    directions = RANDOM_DIRECTIONS
    if not found.group.linear:
        # flows are integrated: few samples and controls tell as much
        rows, directions = len(symmetry.leading(x)), _FEW_DIRECTIONS
        cut = {p: leaf[:_FEW] for p, leaf in find_leaves(x).items() if leaf.ndim and len(leaf) == rows}
        x = x if Rows.of(x).are_ragged else replace_leaves(x, cut)
    control = None if learnt else random_violation(f, x, symmetry, directions)
    violations = measure_violation(f, x, found)
    if control and any(action.mixes_units for _, action in found.input.moving):
        # a residual vanishes on solutions: it has no spread of its own, but random directions give it one
        violations, control = violations / control, 1.0
    return violations.tolist(), control


def _pointwise_rank(found: Symmetry, x: Any) -> int:
    """Dimension of the span of the fields at a generic point."""
    points = get_leaf(x, found.input.moving[0][0]).double()
    fields = found.group.double().field(points.reshape(len(points), -1, points.shape[-1]))[:, 0]
    sizes = torch.linalg.svdvals(fields / fields.norm(dim=2, keepdim=True).clamp_min(1e-12))
    return int((sizes > 1e-3 * sizes[:, :1]).sum(1).median())
