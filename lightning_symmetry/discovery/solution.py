"""From sums over samples to a spectrum of defects and labelled directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions import Points
from lightning_symmetry.discovery.spectrum import Direction, Spectrum
from lightning_symmetry.functional.pencil import (
    FEWEST_FOLDS,
    Pencil,
    Whitened,
    solve_pencil,
    whiten,
    worst_on_the_other_half,
)
from lightning_symmetry.functional.polynomials import multiples_of
from lightning_symmetry.groups import PolynomialField
from lightning_symmetry.symmetry import Symmetry

# A direction whose output moves by less than a tenth of what its length would make of it is an invariance.
INVARIANCE = 0.1
# Eigenvalues below this share are rounding: of data in double precision, and in single precision.
TOLERANCES = {True: 1e-10, False: 1e-6}
# Less than this share of the answers' size, or of doubt among classes, is no answer at all.
CONSTANT, SATURATED = 1e-6, 1e-6
# A direction that lies inside a span up to one hundredth of its square is in it.
INSIDE = 0.01
# A change of an answer by this share of its size is rounding.
ROUNDING = {True: 1e-12, False: 1e-7}
FLOW = "the flow itself"
# Defects below this are rounding.
EXACT = 1e-6
NAMED, NAMED_AT_LEAST = 3.0, 1e-3


@final
@dataclass(frozen=True, eq=False)
class Sums:
    """What `GeneratorGram` has added up.

    Args:
        parts: Name to sum; the leading axis of matrices are the folds.
        exact: Whether data and derivatives are in double precision.
        pictorial: Whether images move.
    """

    parts: Mapping[str, Tensor]
    exact: bool
    pictorial: bool

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.parts["samples"].sum())


@final
@dataclass(frozen=True, eq=False)
class Solution:
    """Solutions of the generalised eigenproblem.

    Args:
        spectrum: Defects, intervals, labels and counts.
        vectors: (P, r) coefficients of every direction of the spectrum: the first K rows belong to the group.
        notes: Sentences on what the numbers do not say.
    """

    spectrum: Spectrum
    vectors: Tensor
    notes: tuple[str, ...] = ()

    @property
    def declared(self) -> Tensor:
        """The declared directions, (P, d)."""
        return self.vectors[:, : self.spectrum.declared]


@dataclass(frozen=True, eq=False)
class _Problem:
    """Gram matrix and normaliser, fold by fold, with what they see."""

    gram: Tensor
    metric: Tensor
    moved: Tensor
    pushed: Tensor
    inputs: Whitened
    outputs: Whitened
    count: int

    @property
    def basis(self) -> Tensor:
        return torch.block_diag(self.inputs.basis, self.outputs.basis)


def solve(sums: Sums, symmetry: Symmetry, delta: float = 0.1) -> Solution:
    """Solve, count, and label.

    Args:
        sums: Of `GeneratorGram`.
        symmetry: Whose group gave the candidates.
        delta: A direction is declared whose upper 95 % bound lies below.

    Returns:
        The solution; where nothing can be told, its spectrum says why.
    """
    problem = _pose(sums, "")
    refused = _refuse(sums, problem)
    if refused:
        empty = Spectrum((), delta, 0, (), sums.samples, len(problem.gram), refused=refused)
        return Solution(empty, torch.zeros(len(problem.gram[0]), 0, dtype=torch.float64))
    multiples = 0
    if _has_module_problem(symmetry):
        pencil, declared, multiples = _solve_by_degree(problem, symmetry, delta)
    else:
        pencil = solve_pencil(problem.gram, problem.metric, problem.basis)
        declared = _declare(problem, pencil, problem.basis, delta)
    null: tuple[float, ...] = ()
    if "null system" in sums.parts and float(sums.parts["null system"].abs().sum()) > 0:
        other = _pose(sums, "null ")
        null = tuple((solve_pencil(other.gram, other.metric, other.basis).defects).tolist())
    vectors, labels, notes = _label(problem, pencil.vectors, declared, symmetry, sums)
    errors = _measure(problem, vectors)
    order = [*errors.defects[:declared].argsort(stable=True).tolist(), *range(declared, vectors.shape[1])]
    vectors, labels, errors = vectors[:, order], [labels[i] for i in order], errors.select(order)
    directions = tuple(
        Direction(
            float(errors.defects[i]),
            float(errors.low[i]),
            float(errors.high[i]),
            float(errors.upper[i]),
            label=labels[i],
            two_term=_two_term(problem, vectors[:, i]),
        )
        for i in range(vectors.shape[1])
    )
    lost = problem.inputs.lost.shape[1]
    spectrum = Spectrum(
        directions,
        delta,
        declared,
        null,
        sums.samples,
        pencil.folds,
        unidentifiable=lost,
        dead_outputs=problem.outputs.lost.shape[1],
        multiples=multiples,
        unit="the affine warp that changes most" if sums.pictorial else Spectrum.unit,
    )
    return Solution(spectrum, vectors, (*notes, *_warn(spectrum)))


def _pose(sums: Sums, prefix: str) -> _Problem:
    parts = {name: sums.parts[prefix + name] for name in ("system", "moved", "inputs")}
    answers, points = sums.parts["answers"], sums.parts["points"]
    count = parts["inputs"].shape[-1]
    # leaves and units that cannot be compared are measured by their own spread
    weights = 1 / _spread(answers) if len(answers) > 1 else torch.ones(1, dtype=torch.float64)
    scales = _spread(points) if len(points) > 1 else torch.ones(1, dtype=torch.float64)
    gram = torch.einsum("l,flpq->fpq", weights, parts["system"])
    moved = torch.einsum("l,flpq->fpq", weights, parts["moved"])
    if sums.pictorial:
        # white noise is no picture: what an image does is measured against the warp that changes the answer most
        warped = torch.einsum("l,lpq->pq", weights, sums.parts["warped"])
        warps = sums.parts["warps"]
        gain = solve_pencil(warped[None], warps[None], whiten(warps).basis).defects[-1].square()
        inputs = parts["inputs"].sum(1) * gain
    else:
        ratio = scales[:, None] / scales
        inputs = torch.einsum("l,uv,fluvpq->fpq", weights, ratio, parts["inputs"])
    metric = torch.zeros_like(gram)
    metric[:, :count, :count] = inputs + moved[:, :count, :count]
    metric[:, count:, count:] = moved[:, count:, count:]
    whole, tolerance = metric.sum(0), TOLERANCES[sums.exact]
    return _Problem(
        gram,
        metric,
        moved,
        torch.einsum("l,lpq->pq", weights, sums.parts["pushed"]),
        whiten(whole[:count, :count], tolerance),
        whiten(whole[count:, count:], tolerance),
        count,
    )


def _spread(moments: Tensor) -> Tensor:
    """Variance from (count, sum, sum of squares); the power where there is none."""
    mean = moments[:, 1] / moments[:, 0].clamp_min(1)
    power = moments[:, 2] / moments[:, 0].clamp_min(1)
    variance = power - mean.square()
    return torch.where(variance > 1e-12 * power, variance, torch.where(power > 0, power, torch.ones_like(power)))


def _refuse(sums: Sums, problem: _Problem) -> str:
    parts = sums.parts
    if int((parts["samples"] > 0).sum()) < FEWEST_FOLDS:
        return f"{sums.samples} samples are too few for intervals: give at least {4 * FEWEST_FOLDS}"
    doubted = parts["doubt"][:, 1] > 0
    if bool(doubted.any()):
        doubt = parts["doubt"][doubted, 0] / parts["doubt"][doubted, 1]
        if float(doubt.min()) < SATURATED:
            return (
                "the class probabilities are 0 or 1 up to rounding, so that nothing moves them: give logits of a lower "
                "confidence (divide them by a temperature), or declare the output as scalar to compare the logits"
            )
    counts = parts["answers"][:, 0].clamp_min(1)
    power = parts["answers"][:, 2] / counts
    spread = (power - (parts["answers"][:, 1] / counts).square()).clamp_min(0)
    least = torch.maximum(CONSTANT**2 * spread, ROUNDING[sums.exact] ** 2 * power)
    lengths = (parts["points"][:, 2] / parts["points"][:, 0].clamp_min(1)).clamp_min(1e-300)
    dimension = parts["points"][:, 0].sum() / max(sums.samples, 1)
    gain = (parts["gains"] * lengths).sum(1).div(max(sums.samples, 1)).mul(dimension)
    if not bool((gain > least).any()) or float(gain.max()) == 0:
        return "the map gives the same answer whatever the input, so that everything is a symmetry of it"
    if not problem.inputs.basis.shape[1]:
        return "no candidate moves anything on these data: they lie where all of them vanish"
    return ""


def _declare(problem: _Problem, pencil: Pencil, basis: Tensor, delta: float) -> int:
    """Count the directions whose upper bound is below delta, less those that only looked so by choice."""
    below = (pencil.upper <= delta).tolist()
    most = below.index(False) if False in below else len(below)
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if worst_on_the_other_half(problem.gram, problem.metric, basis, middle) <= delta:
            least = middle
        else:
            most = middle - 1
    return least


def _measure(problem: _Problem, vectors: Tensor) -> Pencil:
    """Defects and errors of given directions, each for itself."""
    parts = [solve_pencil(problem.gram, problem.metric, v[:, None]) for v in vectors.mT]
    if not parts:
        nothing = torch.zeros(0, dtype=torch.float64)
        return Pencil(vectors, nothing, nothing, 0)
    return Pencil(vectors, torch.cat([p.defects for p in parts]), torch.cat([p.errors for p in parts]), parts[0].folds)


def _two_term(problem: _Problem, v: Tensor) -> float | None:
    """Defect relative to how far input and output really move the answer; None where the output rests."""
    gram, moved = (float(v @ part.sum(0) @ v) for part in (problem.gram, problem.moved))
    pushed = float(v[: problem.count] @ problem.pushed @ v[: problem.count])
    if moved <= INVARIANCE**2 * float(v @ problem.metric.sum(0) @ v):
        return None
    return math.sqrt(max(gram, 0) / (pushed + moved))


def _has_module_problem(symmetry: Symmetry) -> bool:
    """Whether functions times an invariance are invariances too, and some of them are candidates."""
    group, moving = symmetry.group, symmetry.input.moving
    pointwise = len(moving) == 1 and isinstance(moving[0][1], Points)
    return isinstance(group, PolynomialField) and pointwise and not symmetry.moves_output


def _solve_by_degree(problem: _Problem, symmetry: Symmetry, delta: float) -> tuple[Pencil, int, int]:
    """Take the lowest degree first, and leave out what is a function times a direction found before."""
    group = symmetry.group
    assert isinstance(group, PolynomialField)
    candidates, degrees = group.coefficients().detach().to("cpu", torch.float64), group.degrees()
    metric, whole = problem.metric.sum(0), problem.basis
    kept: list[Tensor] = []
    excluded = torch.zeros(len(candidates), 0, dtype=torch.float64)
    for degree in sorted(set(degrees.tolist())):
        inside = whiten(metric * (degrees <= degree)[:, None] * (degrees <= degree)).basis
        basis = _complement(inside, excluded, metric)
        if basis.shape[1]:
            pencil = solve_pencil(problem.gram, problem.metric, basis)
            found = pencil.vectors[:, : _declare(problem, pencil, basis, delta)]
            if found.shape[1]:
                kept.append(found)
                excluded = torch.cat([excluded, found], 1)
        if kept:
            fields = torch.einsum("pr,pij->rij", torch.cat(kept, 1), candidates)
            products = multiples_of(fields, degree + 1 if degree < int(degrees.max()) else degree)
            flat = torch.linalg.lstsq(candidates.flatten(1).mT, products.flatten(1).mT).solution
            excluded = torch.cat([*kept, flat], 1)
    declared = torch.cat(kept, 1) if kept else torch.zeros(len(candidates), 0, dtype=torch.float64)
    rest = solve_pencil(problem.gram, problem.metric, _complement(whole, excluded, metric))
    vectors = torch.cat([declared, rest.vectors], 1)
    span = whiten(excluded.mT @ metric @ excluded, 1e-8).basis.shape[1] if excluded.shape[1] else 0
    measured = _measure(problem, vectors)
    return measured, declared.shape[1], span - declared.shape[1]


def _complement(basis: Tensor, excluded: Tensor, metric: Tensor) -> Tensor:
    """The part of a span that is orthogonal to given directions in a metric; columns of unit length."""
    if not excluded.shape[1]:
        return basis
    inner = basis.mT @ metric @ excluded
    lengths = (excluded * (metric @ excluded)).sum(0).clamp_min(1e-300).sqrt()
    _, sizes, rows = torch.linalg.svd((inner / lengths).mT, full_matrices=True)
    rank = int((sizes > 1e-6 * max(float(sizes.max()), 1e-300)).sum())
    return basis @ rows[rank:].mT


def _label(
    problem: _Problem, vectors: Tensor, declared: int, symmetry: Symmetry, sums: Sums
) -> tuple[Tensor, list[str], tuple[str, ...]]:
    """Turn the declared directions so that each is of one kind, and say which."""
    labels = ["equivariance" if symmetry.moves_output else "invariance"] * vectors.shape[1]
    if not declared or not symmetry.moves_output:
        return vectors, labels, ()
    chosen, metric = vectors[:, :declared], problem.metric.sum(0)
    values, turned = torch.linalg.eigh(chosen.mT @ problem.moved.sum(0) @ chosen)
    if float(values[0]) < INVARIANCE**2:
        chosen = chosen @ turned
        labels[:declared] = ["invariance" if value < INVARIANCE**2 else "equivariance" for value in values.tolist()]
    notes: list[str] = []
    still = [i for i, label in enumerate(labels[:declared]) if label == "invariance"]
    moving = [i for i, label in enumerate(labels[:declared]) if label != "invariance"]
    parts, names = [chosen[:, still]], ["invariance"] * len(still)
    rest = chosen[:, moving]
    special = [_euler(problem, symmetry, chosen, metric), _own_flow(sums, chosen, metric)]
    for vector, name in (one for one in special if one is not None):
        # what is left of it beside the invariances and those before
        inside = rest @ (rest.mT @ metric @ vector)
        if not rest.shape[1] or float(inside @ metric @ inside) < INSIDE * float(vector @ metric @ vector):
            continue
        whole = chosen @ (chosen.mT @ metric @ vector)
        # a name that fits roughly must not hide what holds exactly
        found = solve_pencil(problem.gram, problem.metric, rest).defects[0]
        if float(_measure(problem, whole[:, None]).defects[0]) > NAMED * float(found) + NAMED_AT_LEAST:
            continue
        rest = _complement(rest, inside[:, None], metric)
        parts.append((whole / (whole @ metric @ whole).sqrt())[:, None])
        names.append(name)
        if name == FLOW:
            notes.append("One declared generator is the motion of the system itself, which every system has.")
    parts, names = [*parts, rest], [*names, *["equivariance"] * rest.shape[1]]
    labels[:declared] = names
    return torch.cat([*parts, vectors[:, declared:]], 1), labels, tuple(notes)


def _outside(vector: Tensor, chosen: Tensor, metric: Tensor) -> float:
    """Share of a direction's square that a span lacks."""
    rest = vector - chosen @ (chosen.mT @ metric @ vector)
    return float((rest @ metric @ rest) / (vector @ metric @ vector).clamp_min(1e-300))


def _own_flow(sums: Sums, chosen: Tensor, metric: Tensor) -> tuple[Tensor, str] | None:
    """Look for the motion of a vector field among its own symmetries."""
    flow = sums.parts.get("flow")
    if flow is None:
        return None
    inner = whiten(flow[:-1, :-1]).basis
    along = inner @ (inner.mT @ flow[:-1, -1])
    vector = torch.nn.functional.pad(along, (0, len(metric) - len(along)))
    explained = float(along @ flow[:-1, -1] / flow[-1, -1].clamp_min(1e-300))
    return (vector, FLOW) if explained > 1 - INSIDE and _outside(vector, chosen, metric) < INSIDE else None


def _euler(problem: _Problem, symmetry: Symmetry, chosen: Tensor, metric: Tensor) -> tuple[Tensor, str] | None:
    """Look for homogeneity: the scaling of the input with a power of the output."""
    group, count = symmetry.group, problem.count
    candidates = group.coefficients().detach().to("cpu", torch.float64)
    if group.part("space") is not group or group.dim is None or _translates(symmetry):
        return None
    target = torch.zeros_like(candidates[0])
    target[: group.dim, : group.dim] = torch.eye(group.dim, dtype=torch.float64)
    solution = torch.linalg.lstsq(candidates.flatten(1).mT, target.reshape(-1, 1)).solution[:, 0]
    if float((torch.einsum("k,kij->ij", solution, candidates) - target).norm()) > 1e-6:
        return None
    scaling = torch.nn.functional.pad(solution, (0, len(metric) - count))
    power, rest = 1.0 if symmetry.moves_output else 0.0, len(metric) - count
    vector = scaling
    if rest:
        size = math.isqrt(rest)
        if size * size != rest:
            return None
        identity = torch.cat([torch.zeros(count, dtype=torch.float64), torch.eye(size, dtype=torch.float64).flatten()])
        project = torch.eye(len(metric), dtype=torch.float64) - chosen @ chosen.mT @ metric
        first, second = project @ scaling, project @ identity
        power = -float((first @ metric @ second) / (second @ metric @ second).clamp_min(1e-300))
        vector = scaling + power * identity
    if _outside(vector, chosen, metric) > INSIDE:
        return None
    whole = round(power)
    return vector, f"homogeneity of degree {whole if abs(power - whole) < 0.02 else format(power, '.2f')}"


def _translates(symmetry: Symmetry) -> bool:
    """Whether the input is positions that may be translated, for which scaling about the origin says little."""
    return symmetry.group.affine and symmetry.group.linear


def _warn(spectrum: Spectrum) -> list[str]:
    notes = []
    if spectrum.unidentifiable:
        notes.append(
            f"{spectrum.unidentifiable} directions move nothing on these data and cannot be told: the data lie in a "
            "part of the space. Nothing is claimed outside of it."
        )
    if spectrum.dead_outputs:
        notes.append(f"{spectrum.dead_outputs} directions of the output are never reached and were left out.")
    if spectrum.declared and len(spectrum.null) >= spectrum.declared:
        worst, chance = spectrum.directions[spectrum.declared - 1].defect, spectrum.null[spectrum.declared - 1]
        if EXACT < chance < 2 * worst:
            notes.append(
                f"Derivatives that belong to other samples reach {chance:.2g}, no worse than the {worst:.2g} of what "
                "was declared: on these data chance does as well. Bring the inputs to one scale, or lower delta."
            )
    if spectrum.gap is not None and spectrum.gap < 3:
        notes.append(
            f"The first direction that was not declared is only {spectrum.gap:.1f} times less symmetric than the last "
            "one that was: the number of generators depends on delta."
        )
    return notes
