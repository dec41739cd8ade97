"""From a trained network and a learnt symmetry to a `Discovery`."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.actions import Representation
from lightning_symmetry.discovery.discovery import Discovery, GeneratorEvidence
from lightning_symmetry.discovery.evidence import (
    Map,
    judge,
    measure_violation,
    random_violation,
)
from lightning_symmetry.discovery.naming import Naming, name_in
from lightning_symmetry.discovery.support import draw_moved, flatten_moving, support_coverage
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.spans import (
    canonical_basis,
    canonical_fields,
    lie_closure_residual,
    orthonormal_span,
    principal_cosines,
    quarter_turn_norm,
)
from lightning_symmetry.groups import Group
from lightning_symmetry.samplers import Normal
from lightning_symmetry.symmetry import Symmetry

# Two accepted generators that differ by less than this are one: their difference is noise, and so would be its name.
SPAN_TOLERANCE = 0.1
LOW_COVERAGE = 0.5


def assemble(
    f: Map,
    x: Any,
    symmetry: Symmetry,
    truth: Symmetry | Group | Tensor | None = None,
    history: Mapping[str, list[float]] | None = None,
    held_out: str = "validation",
    cap: float | None = None,
) -> Discovery:
    """Judge the generators of a symmetry on a trained network and put the result together.

    Every generator is measured (`measure_violation`), compared with random directions (`random_violation`) and judged
    (`judge`); the accepted ones are rotated into a readable basis (`canonical_basis`, `canonical_fields`) and named
    (`name_in`).

    Args:
        f: The trained network, in evaluation mode, from an input structure of B rows to an output structure.
        x: Input structure; held-out samples, at least two.
        symmetry: Learnt, or known (then its norms are no evidence and violations alone decide).
        truth: What the data are known to have, if anything.
        history: Curves over training; a leading ``<name>/`` is dropped from the keys.
        held_out: "validation" or "training": where ``x`` comes from.
        cap: Norm from which on training rewards no growth; by default that of a quarter turn of every plane.

    Returns:
        The discovery, equal on all ranks up to the support of each rank's data.

    Raises:
        InvalidSetting: The group has no generators.

    Cost: 2 (K + 8) + 3 forwards of B rows, without gradients.
    """
    symmetry.bind(x)
    group = symmetry.group
    if group.dim is None or not group.count:
        raise InvalidSetting(
            got=f"{group.sentence}, which has no generators",
            expected="a group with a continuous part",
            remedy="Measure a finite group with a metric or an audit instead.",
        )
    violations = measure_violation(f, x, symmetry).tolist()
    control = random_violation(f, x, symmetry)
    basis = group.coefficients().detach()
    norms = group.norms().tolist()
    cap = (cap or quarter_turn_norm(group.dim)) if group.learnable else None
    evident = [norm if learnt else math.inf for norm, learnt in zip(norms, group.learnt(), strict=True)]
    accepted = judge(evident, cap, violations, control).accepted
    active = accepted or list(range(group.count))
    coverage = support_coverage(flatten_moving(x, symmetry), flatten_moving(draw_moved(x, symmetry, active), symmetry))
    judgement = judge(evident, cap, violations, control, coverage)
    evidence = []
    for k, verdict in enumerate(judgement.generators):
        naming = name_in(group, basis[k])
        matrix = tuple(map(tuple, basis[k].tolist()))
        evidence.append(
            GeneratorEvidence(k, norms[k], violations[k], control, verdict, naming.name, naming.cosine, matrix)
        )
    directions = _directions(basis[accepted])
    canonical = make_canonical(group, directions)
    namings = name_canonical(group, canonical)
    cosine, remark = compare_to_truth(directions if accepted else _directions(basis), group, truth)
    prefix = f"{symmetry.name}/"
    return Discovery(
        symmetry=_fix(symmetry, canonical, accepted),
        name=symmetry.name,
        verdict=judgement.overall,
        generators=tuple(evidence),
        canonical=canonical,
        canonical_names=tuple(n.name for n in namings),
        canonical_cosines=tuple(n.cosine for n in namings),
        coverage=coverage,
        closure=lie_closure_residual(directions, SPAN_TOLERANCE) if accepted and group.linear else None,
        cosine=cosine,
        cap=cap,
        held_out=held_out,
        notes=(*remark, *_warn(coverage, canonical, held_out, group)),
        history={key.removeprefix(prefix): list(values) for key, values in (history or {}).items()},
    )


def make_canonical(group: Group, directions: Tensor, rtol: float = SPAN_TOLERANCE) -> Tensor:
    """Rotate generators of a group's kind into a readable basis of their span.

    Args:
        group: Bound to its dimension.
        directions: (K, ...) coefficients.
        rtol: Relative size from which on a direction of the span counts.

    Returns:
        (r, ...) coefficients at unit speed, r the rank.
    """
    if group.linear:
        return canonical_basis(directions, group.affine, rtol)
    return canonical_fields(directions, rtol)


def name_canonical(group: Group, canonical: Tensor) -> list[Naming]:
    """Name every generator of a readable basis."""
    return [name_in(group, one) for one in canonical]


def _directions(basis: Tensor) -> Tensor:
    """Scale generators to norm 1, in double precision: the span must not depend on how far each has grown."""
    basis = basis.detach().to("cpu", torch.float64)
    return basis / torch.linalg.vector_norm(basis, dim=(1, 2))[:, None, None].clamp_min(1e-30)


def _fix(symmetry: Symmetry, canonical: Tensor, accepted: list[int]) -> Symmetry:
    """Copy a symmetry with fixed generators: the canonical ones, or the learnt ones where none was accepted."""
    found = copy.deepcopy(symmetry)
    group, widths = symmetry.group, symmetry.sampler.widths.detach().to("cpu", torch.float64)
    basis = group.coefficients().detach().to("cpu", torch.float64)
    mixing = torch.eye(len(basis), dtype=torch.float64)
    if accepted:
        old, new = basis[accepted].flatten(1), canonical.to(torch.float64).flatten(1)
        mixing = torch.zeros(len(new), len(basis), dtype=torch.float64)
        mixing[:, accepted] = new @ torch.linalg.pinv(old, rtol=SPAN_TOLERANCE / 2)
        # how far the law reached along each new generator, in units of that generator's coefficient
        reach = (new @ old.mT) / new.square().sum(1, keepdim=True) * widths[accepted]
        basis, widths = canonical, reach.norm(dim=1)
    law = type(symmetry.sampler)
    settings: dict[str, Any] = {"width": widths.tolist()} | ({"learnable": False} if law is Normal else {})
    found.sampler = law(group.fix(basis.to(group.coefficients())), **settings)
    for side in (found.input, found.output):
        for _, action in side.moving:
            if isinstance(action, Representation):
                weight = action.generators()
                action.restore(torch.einsum("jk,kmn->jmn", mixing.to(weight), weight))
    return found.requires_grad_(False)


def compare_to_truth(
    directions: Tensor, group: Group, truth: Symmetry | Group | Tensor | None
) -> tuple[float | None, tuple[str, ...]]:
    """Compare a span of generators with what is known.

    Args:
        directions: (K, ...) generators of norm 1.
        group: Of whose kind they are.
        truth: What is known, if anything.

    Returns:
        The least principal cosine, and a remark where the spans differ in size or space.
    """
    if truth is None or not len(directions):
        return None, ()
    if isinstance(truth, Tensor):
        known, affine = truth, truth.shape[-1] == (group.dim or 0) + 1
    else:
        known_group = copy.deepcopy(truth.group if isinstance(truth, Symmetry) else truth)
        times = (known_group.dim or len(known_group.coefficients()[0])) if known_group.linear else 0
        if group.linear and not (group.affine or known_group.affine) and group.dim and times > group.dim:
            # one matrix for every vector of a state is a block-diagonal one of the whole state
            copies = torch.eye(times // group.dim, dtype=directions.dtype)
            if times % group.dim == 0:
                whole = torch.stack([torch.kron(copies, one) for one in directions])
                return compare_to_truth(_directions(whole), known_group, known_group.coefficients())
        try:
            known_group.bind(group.dim)
        except DimensionMismatch as error:
            return None, (f"No cosine to the known truth, which acts on another space: {error.got}.",)
        known, affine = known_group.coefficients(), known_group.affine
        if not known_group.linear and (group.linear or known.shape[1:] != directions.shape[1:]):
            return None, (f"No cosine to the known truth, {known_group.sentence}, which is no group of this kind.",)
    known = known.detach().to("cpu", torch.float64)
    if not group.linear:
        if known.shape[1:] != directions.shape[1:]:
            known = known[:, : group.dim]
            known = F.pad(known, (0, directions.shape[-1] - known.shape[-1]))
    elif affine and not group.affine:
        directions = F.pad(directions, (0, 1, 0, 1))
    elif group.affine and not affine:
        known = F.pad(known, (0, 1, 0, 1))
    found, true = orthonormal_span(directions, SPAN_TOLERANCE), orthonormal_span(known)
    if not len(found) or not len(true):
        return None, ()
    remark = f"The span found has dimension {len(found)}, the known truth {len(true)}."
    return float(principal_cosines(found, true)[-1]), () if len(found) == len(true) else (remark,)


def _warn(coverage: float, canonical: Tensor, held_out: str, group: Group) -> tuple[str, ...]:
    notes = []
    if coverage < LOW_COVERAGE:
        notes.append(
            f"Only {coverage:.0%} of the moved samples land where there are data; beyond them the symmetry is the "
            "network's extrapolation."
        )
    if held_out != "validation":
        notes.append("Without validation data, the evidence was measured on training inputs.")
    if not group.linear:
        notes.append("Whether the fields are closed under brackets was not measured: theirs have a higher degree.")
    elif _is_non_compact(canonical):
        notes.append("The group is not compact: exp of its generators does not reach every element.")
    return tuple(notes)


def _is_non_compact(basis: Tensor) -> bool:
    """Whether generators that do not commute have growing or shrinking directions."""
    products = basis.unsqueeze(1) @ basis.unsqueeze(0)
    if len(basis) < 2 or float((products - products.transpose(0, 1)).abs().max()) < 0.1:
        return False
    # at unit speed a rotation's eigenvalues are imaginary and a translation's vanish
    return bool((torch.linalg.eigvals(basis).real.abs() > 0.1).any())
