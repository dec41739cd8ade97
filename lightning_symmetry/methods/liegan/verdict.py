"""From generators that won the game to a `Discovery`."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.discovery import Discovery, GeneratorEvidence, judge, support_coverage
from lightning_symmetry.discovery.assembly import SPAN_TOLERANCE, compare_to_truth, make_canonical, name_canonical
from lightning_symmetry.discovery.naming import name_in
from lightning_symmetry.discovery.support import flatten_moving
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.spans import lie_closure_residual
from lightning_symmetry.methods.liegan.evidence import Samples, move_pair, take_rows
from lightning_symmetry.methods.liegan.identify import data_span, on_span, represent, restrict_truth
from lightning_symmetry.samplers import Integers
from lightning_symmetry.symmetry import Symmetry

# A generator that moves data by less than this share of their size is no more than the identity.
_LEAST_MOVE = 0.05
# Rows for the support, whose cost is quadratic.
_SUPPORT_ROWS = 512


def violations_of(symmetry: Symmetry, samples: Samples) -> list[float]:
    """Measure each generator by itself: 2 AUC - 1 of a network trained afresh, 0 where nothing can be told.

    Args:
        symmetry: Whose generators are measured.
        samples: Pairs.

    Returns:
        One number in [0, 1] a generator.
    """
    return [max(2 * samples.tell_apart(symmetry, only=k) - 1, 0.0) for k in range(symmetry.group.count)]


def idle_in(symmetry: Symmetry, samples: Samples) -> list[int]:
    """List the generators that hardly move the data, which nobody could tell from the identity."""
    return [k for k in range(symmetry.group.count) if _measure_move(symmetry, samples, k) < _LEAST_MOVE]


def conclude(
    symmetry: Symmetry,
    samples: Samples,
    violations: list[float],
    truth: Any,
    spread: float | None,
    history: Mapping[str, list[float]],
    held_out: str,
) -> tuple[Discovery, dict[str, float]]:
    """Judge generators, make their span readable, and put the result together.

    Generators are told on the span of the data (`represent`): beyond it nothing tells what they do. Channels that the
    others span already are found by the rank of the accepted ones.

    Args:
        symmetry: Learnt, bound to the pair.
        samples: Pairs.
        violations: From `violations_of`.
        truth: What the data are known to have, if anything.
        spread: From `measure_spread` over several seeds; None for one.
        history: Curves over training.
        held_out: "validation" or "training".

    Returns:
        The discovery, and the metrics beyond its own.
    """
    group, (x, y) = symmetry.group, samples.held_out
    span = data_span(symmetry, x, y)
    basis = represent(group.coefficients(), span, group.pattern())
    control = samples.tell_random_apart(symmetry)
    control = None if control is None else max(2 * control - 1, 0.0)
    judgement = judge([math.inf] * group.count, None, violations, control)
    idle = idle_in(symmetry, samples)
    verdicts = ["spare" if k in idle else verdict for k, verdict in enumerate(judgement.generators)]
    accepted = [k for k, verdict in enumerate(verdicts) if verdict == "accepted"]
    evidence = []
    for k, verdict in enumerate(verdicts):
        naming = name_in(group, basis[k])
        evidence.append(
            GeneratorEvidence(
                index=k,
                norm=float(torch.linalg.vector_norm(basis[k])),
                violation=violations[k],
                random_violation=control,
                verdict=verdict,
                name=naming.name,
                cosine_to_name=naming.cosine,
                matrix=tuple(map(tuple, basis[k].tolist())),
            )
        )
    chosen = accepted or list(range(group.count))
    cosine, remark = compare_to_truth(on_span(basis[chosen], span), group, restrict_truth(truth, group, span))
    everywhere, _ = compare_to_truth(on_span(group.coefficients()[chosen], None), group, truth)
    directions = on_span(basis[accepted], None)
    canonical = make_canonical(group, directions)
    namings = name_canonical(group, canonical)
    coverage = _cover(symmetry, samples)
    lost = {"spare", "violated"}
    discovery = Discovery(
        symmetry=_fix(symmetry, basis, canonical, accepted),
        name=symmetry.name,
        verdict="symmetric" if accepted else "absent" if set(verdicts) <= lost else "undecided",
        generators=tuple(evidence),
        canonical=canonical,
        canonical_names=tuple(n.name for n in namings),
        canonical_cosines=tuple(n.cosine for n in namings),
        coverage=coverage,
        closure=lie_closure_residual(directions, SPAN_TOLERANCE) if accepted and group.linear else None,
        cosine=cosine,
        held_out=held_out,
        notes=(*remark, *_explain(symmetry, span, len(accepted), len(canonical), spread, held_out)),
        history=history,
    )
    metrics = {"auc": samples.tell_apart(symmetry), "rank": float(len(canonical))}
    optional = {"cosine_everywhere": everywhere if span is not None else None, "spread": spread}
    return discovery, metrics | {key: value for key, value in optional.items() if value is not None}


def _measure_move(symmetry: Symmetry, samples: Samples, only: int) -> float:
    """Root mean square of the change of the input under one generator, relative to the input."""
    few = take_rows(samples.held_out, slice(0, _SUPPORT_ROWS))
    before = flatten_moving(few[0], symmetry)
    after = flatten_moving(symmetry.move_input(samples.draw(symmetry, few, only=only), few[0]), symmetry)
    return float((after - before).norm() / before.norm().clamp_min(1e-30))


def _cover(symmetry: Symmetry, samples: Samples) -> float:
    few = take_rows(samples.held_out, slice(0, _SUPPORT_ROWS))
    with torch.no_grad():
        moved = move_pair(symmetry, few, symmetry.sample(few[0], 1, Rng(samples.seed, -3))[0])
    return support_coverage(flatten_moving(few[0], symmetry), flatten_moving(moved[0], symmetry))


def _fix(symmetry: Symmetry, basis: Tensor, canonical: Tensor, accepted: list[int]) -> Symmetry:
    """Copy a symmetry with fixed generators: the canonical ones, or the learnt ones where none was accepted."""
    found = copy.deepcopy(symmetry)
    widths = symmetry.sampler.widths.detach().to("cpu", torch.float64)
    if accepted:
        old, new = basis[accepted].flatten(1), canonical.to(torch.float64).flatten(1)
        # how far the law reached along each new generator, in units of that generator's coefficient
        reach = (new @ old.mT) / new.square().sum(1, keepdim=True) * widths[accepted]
        basis, widths = canonical, reach.norm(dim=1)
    settings = {**symmetry.sampler.settings, "width": widths.tolist()}
    law: Any = type(symmetry.sampler)
    found.sampler = law(symmetry.group.fix(basis.to(symmetry.group.coefficients())), **settings)
    return found.requires_grad_(False)


def _explain(
    symmetry: Symmetry, span: Tensor | None, accepted: int, rank: int, spread: float | None, held_out: str
) -> tuple[str, ...]:
    notes = [
        "Violation is 2 AUC - 1 of a network trained afresh to tell data from moved data: no predictor took part. The "
        "symmetry is one of the distribution of (x, y)."
    ]
    if isinstance(symmetry.sampler, Integers):
        notes.append("Whole coefficients: the powers of one element were tried, not all that its generator reaches.")
    else:
        notes.append("The norm of a generator is set by the identity penalty and is no evidence; its direction is.")
    if span is not None:
        filled = round(float(span.trace()))
        notes.append(f"The data fill {filled} of {len(span)} dimensions; generators are told and compared on these.")
    if rank < accepted:
        notes.append(f"{accepted} accepted channels span {rank} dimensions: {accepted - rank} of them repeat others.")
    if spread is not None:
        notes.append(f"The spans that the seeds found lie up to {spread:.2g} degrees apart.")
    if held_out != "validation":
        notes.append("Without validation data, the evidence was measured on training pairs that were set aside.")
    return tuple(notes)
