"""Evidence for and against learnt generators: violations on held-out data, random controls, verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor

from lightning_symmetry.actions import Representation
from lightning_symmetry.differentiation import repeat_rows
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import mean_over_ranks, sum_over_ranks
from lightning_symmetry.functional.precision import widen
from lightning_symmetry.functional.residuals import as_rows, relative_residual
from lightning_symmetry.groups import Group
from lightning_symmetry.paths import find_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry

Map = Callable[[Any], Any]
GeneratorVerdict = Literal["accepted", "spare", "violated", "undecided"]
Verdict = Literal["symmetric", "absent", "undecided"]

# The norm reward drives a generator that costs nothing to the cap and beyond (measured: 1 to 3 caps), one that costs
# something stays near zero (measured: up to 0.13 caps). The two bounds leave a wide gap in which nothing is claimed.
ACCEPTED_NORM = 0.5
SPARE_NORM = 0.25
# True generators violate a thousand times less than a random direction, spare ones about as much.
ACCEPTED_SHARE = 0.1
# A control counts for at most one output variance: beyond that, it shows how far random directions stretch the output,
# and a tenth of it would let almost anything pass.
LARGEST_CONTROL = 1.0
# A fixed generator has no norm to speak for it: it is refused where it does half as badly as a random direction.
REFUSED_SHARE = 0.5
# A shrunken generator whose direction still does four times better than a random one may be a symmetry that training
# has not grown yet: no evidence of absence.
PROMISING_SHARE = 0.25
# A network is free where there are no data, and can be made consistent with almost anything there (measured: shears of
# upright digits, 11 % covered); a quarter of an orbit, as of rotations in a sector of +-45 degrees, pins it down.
NEEDED_COVERAGE = 0.2
# Without a random control: spares have violated by 0.34 to 0.79 output variances, true generators by less than 0.001.
ABSOLUTE_BOUND = 0.05
# Frobenius norm of a direction at unit angle: one plane turned by one radian.
UNIT_NORM = math.sqrt(2)
RANDOM_DIRECTIONS = 8
# Moved samples that go through the map at once.
MOST_ROWS = 4096


@final
@dataclass(frozen=True)
class Judgement:
    """The verdict on every generator, and on all of them together."""

    generators: tuple[GeneratorVerdict, ...]
    overall: Verdict

    @property
    def accepted(self) -> list[int]:
        """Which generators hold."""
        return [k for k, verdict in enumerate(self.generators) if verdict == "accepted"]


def measure_violation(
    f: Map, x: Any, symmetry: Symmetry, generators: Tensor | None = None, angle: float = 1.0
) -> Tensor:
    """Measure how far a map is from having each one-parameter symmetry, relative to the spread of its output.

    violation_k = mean_{x, t = +-angle} || f(exp(t u_k) x) - rho(exp(t u_k)) f(x) ||^2 / mean_x || f(x) - mean f ||^2,

    with directions u_k of Frobenius norm sqrt(2), which is one radian of one plane. 0 says that f has the symmetry on
    these samples; 2 is what two unrelated outputs would give.

    Args:
        f: Map from an input structure of B rows to an output structure of B rows.
        x: Input structure; held-out samples.
        symmetry: How elements act on both sides.
        generators: (K, ...) coefficients, of any norm; None takes the group's own, which alone can move an output that
            acts by a learned representation.
        angle: Size of the coefficient, in radians for a rotation of one plane.

    Returns:
        (K,) float64, over the samples of all ranks; 0 for a generator that vanishes, which moves nothing.

    Raises:
        InvalidSetting: Other generators than the group's own meet a learned representation, or the output has no
            floating-point tensor.

    Cost: 2 K + 1 forwards of B rows, without gradients, as many at once as make 4096 rows.

    Example:
        >>> symmetry = Symmetry.parse("SO(2) on vector -> scalar")
        >>> x = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
        >>> bool(measure_violation(lambda x: x.norm(dim=1), x, symmetry) < 1e-9)
        True
    """
    with torch.no_grad():
        y = f(x)
        symmetry.bind(x, y)
        if generators is None:
            group: Group = symmetry.group
        elif has_learned_action(symmetry):
            raise InvalidSetting(
                got="generators of one's own for a learned representation",
                expected="the group's own generators, whose coordinates say how the output moves",
                remedy="Leave generators out.",
            )
        else:
            group = symmetry.group.fix(generators.to(symmetry.group.coefficients()))
        norms = group.norms()
        if not len(norms):
            return torch.zeros(0, dtype=torch.float64)
        outputs = {path: leaf for path, leaf in find_leaves(y).items() if leaf.is_floating_point() and leaf.ndim}
        if not outputs:
            raise InvalidSetting(
                got="an output without floating-point tensors",
                expected="numbers that can be compared",
                remedy="Give f the network itself (logits instead of class indices).",
            )
        scales = {path: _measure_spread(leaf) for path, leaf in outputs.items()}
        steps = angle * UNIT_NORM / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        steps = torch.where(steps.isfinite(), steps, 0.0)
        rows, ragged = len(symmetry.leading(x)), Rows.of(x).are_ragged
        both = torch.cat([torch.diag(steps), -torch.diag(steps)])
        # graphs cannot be repeated row by row
        chunk = 1 if ragged else max(1, MOST_ROWS // max(rows, 1))
        totals = torch.cat([_residuals(f, x, y, symmetry, group, t, scales) for t in both.split(chunk)])
        return mean_over_ranks(totals.unflatten(0, (2, -1)).mean(0), rows).to("cpu", torch.float64)


def random_violation(
    f: Map, x: Any, symmetry: Symmetry, n: int = RANDOM_DIRECTIONS, angle: float = 1.0, seed: int = 0
) -> float | None:
    """Measure the violation of a typical random direction: the control that a learnt generator has to beat.

    The median of `measure_violation` over ``n`` normal directions of the same norm in the space that the group learns
    in (its block mask; last row zero). The median, because one direction that happens to stretch far beyond the data
    can outweigh all others and make every generator look good.

    Args:
        f: Map from input structure to output structure.
        x: Input structure; held-out samples.
        symmetry: How elements act on both sides.
        n: Number of directions.
        angle: Size of the coefficient, as for `measure_violation`.
        seed: Of the directions, which do not depend on torch's global generator and agree on all ranks.

    Returns:
        A number; None where a learned representation gives other directions no action on the output, or where the space
        of generators has no other direction.

    Cost: 2 n + 1 forwards of B rows, without gradients.
    """
    with torch.no_grad():
        symmetry.bind(x, f(x))
    mask = symmetry.group.pattern()
    if has_learned_action(symmetry) or int(mask.count_nonzero()) < 2:
        return None
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(n, *mask.shape, generator=generator, dtype=torch.float64).to(mask) * mask
    # a direction whose moved inputs overflow is as bad as can be
    return float(measure_violation(f, x, symmetry, directions, angle).nan_to_num(nan=math.inf).median())


def has_learned_action(symmetry: Symmetry) -> bool:
    """Whether anything moves by a learned representation, which knows the coordinates of its own group only."""
    moving = [*symmetry.input.moving, *symmetry.output.moving]
    return any(isinstance(action, Representation) for _, action in moving)


def judge(
    norms: Sequence[float],
    cap: float | None,
    violation: Sequence[float],
    random_violation: float | None,
    coverage: float = 1.0,
) -> Judgement:
    """Turn evidence into verdicts.

    A generator is *accepted* when its norm exceeds half the cap and its violation is below a tenth of a random
    direction's, which counts for at most one output variance (below 0.05 output variances where there is no such
    control). It is *spare* when its norm is below a quarter of the cap, the signature of absence, and its direction is
    not promising either. Anything else is *undecided*. All together: *symmetric* when at least one is accepted and the
    data cover enough of the orbits, *absent* when all are spare or violated, *undecided* otherwise.

    Args:
        norms: (K,) Frobenius norms; infinite for a generator that was given beside learnt ones.
        cap: Norm from which on training rewards no further growth; None for generators that were given, whose norm says
            nothing: they are accepted by their violation alone, and *violated* above half the control (or the bound).
        violation: (K,) of `measure_violation`.
        random_violation: Of `random_violation`, or None.
        coverage: Share of moved samples that land where there are data, of `support_coverage`.

    Returns:
        The verdicts.

    Raises:
        InvalidSetting: There are not as many norms as violations.

    Example:
        >>> judge([2.22, 0.2], 2.22, [0.0006, 0.7], 0.8)
        Judgement(generators=('accepted', 'spare'), overall='symmetric')
    """
    if len(norms) != len(violation):
        counts = f"{len(norms)} norms and {len(violation)} violations"
        raise InvalidSetting(counts, "one of each for every generator", "Measure all generators.")
    if random_violation is None:
        bound = refused = promising = ABSOLUTE_BOUND
    else:
        control = min(random_violation, LARGEST_CONTROL)
        bound, refused, promising = (s * control for s in (ACCEPTED_SHARE, REFUSED_SHARE, PROMISING_SHARE))
    verdicts: list[GeneratorVerdict] = []
    for norm, value in zip(norms, violation, strict=True):
        holds = value < bound
        given = cap is None or math.isinf(norm)
        large = given or norm > ACCEPTED_NORM * (cap or 0.0)
        # a generator that vanished has no direction that could be promising
        hopeless = value >= promising or norm == 0
        gone = value >= refused if given else norm < SPARE_NORM * (cap or 0.0) and hopeless
        lost: GeneratorVerdict = "violated" if given else "spare"
        verdicts.append("accepted" if holds and large else lost if gone else "undecided")
    if "accepted" in verdicts:
        return Judgement(tuple(verdicts), "symmetric" if coverage >= NEEDED_COVERAGE else "undecided")
    return Judgement(tuple(verdicts), "absent" if set(verdicts) <= {"spare", "violated"} else "undecided")


def _residuals(
    f: Map, x: Any, y: Any, symmetry: Symmetry, group: Group, t: Tensor, scales: dict[str, Tensor]
) -> Tensor:
    """Relative squared residual of T elements, summed over samples, averaged over the output's tensors: (T,)."""
    rows, count, samples = Rows.of(x), len(t), len(symmetry.leading(x))
    if count > 1:
        x, y = repeat_rows(x, samples, count), repeat_rows(y, samples, count)
        t = t.repeat(samples, 1)
    g = group.exp(t)
    actual = find_leaves(f(symmetry.move_input(g, x)))
    expected = find_leaves(symmetry.move_output(g, y, rows))
    residuals = []
    for path, scale in scales.items():
        residual = rows.pool(relative_residual(as_rows(actual[path]), as_rows(expected[path]), scale), path)
        residuals.append(residual.reshape(-1, count).sum(0))
    return torch.stack(residuals).mean(0)


def _measure_spread(y: Tensor) -> Tensor:
    """Variance of an output over the samples of all ranks, averaged over its features."""
    rows = widen(as_rows(y))
    size = sum_over_ranks(rows.new_tensor([float(len(rows))]))
    mean = sum_over_ranks(rows.sum(0)) / size
    squares = torch.stack([(rows - mean).square().mean(1).sum(), rows.square().mean(1).sum()])
    variance, power = (sum_over_ranks(squares) / size).unbind()
    # one row has no variance: its power stands in
    variance = torch.where(size > 1, variance, power).squeeze()
    # a network that answers a constant has no scale of its own: a thousandth of its power bounds the quotient
    return torch.maximum(variance, 1e-3 * power).clamp_min(1e-12)
