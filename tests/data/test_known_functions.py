"""Functions with an exact truth: the symmetries that are declared are all that there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Jet
from lightning_symmetry.data import (
    CrossProduct,
    FourMomenta,
    HeatJets,
    KdVJets,
    KnownEquation,
    KnownFunction,
    KnownSymmetry,
    LimitCycle,
    TwoBodyForces,
    VectorPairs,
)
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Affine, Group, by_name
from lightning_symmetry.symmetry import Symmetry
from tests.data.test_known_symmetry import everything, make

ALL = [CrossProduct, FourMomenta, VectorPairs, TwoBodyForces, LimitCycle, HeatJets, KdVJets]
EQUATIONS = [HeatJets, KdVJets]


def draw(data: KnownFunction, rows: int = 200) -> Tensor:
    return data.draw(Rng(11), rows)


def push(f: object, symmetry: Symmetry, x: Tensor) -> tuple[Tensor, Tensor]:
    """Push every generator through a function: (B, K, m); and move its values by the output's action."""
    y = f(x)
    symmetry.bind(x, y).double()
    ((_, action),) = symmetry.input.moving
    motions = action.lie(symmetry.group, x)
    pushed = [torch.func.jvp(f, (x,), (motions[:, k],))[1] for k in range(symmetry.group.count)]
    moved = symmetry.output.moving
    answer = moved[0][1].lie(symmetry.group, y) if moved else torch.zeros(1, dtype=x.dtype)
    return torch.stack(pushed, 1), answer


def kernel(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Sizes and coefficients of all combinations of columns (B, K, ...), the smallest last."""
    _, sizes, rows = torch.linalg.svd(columns.movedim(1, -1).flatten(0, -2), full_matrices=True)
    return sizes / sizes[0], rows


def same_span(a: Tensor, b: Tensor) -> bool:
    """Whether two sets of rows span the same."""
    both = torch.linalg.matrix_rank(torch.cat((a, b)), rtol=1e-8)
    return bool(both == torch.linalg.matrix_rank(a, rtol=1e-8) == torch.linalg.matrix_rank(b, rtol=1e-8))


@pytest.mark.parametrize("kind", ALL)
def test_the_truth_holds_exactly(kind: type[KnownFunction]) -> None:
    data = kind()
    truth, x = data.truth(), draw(data)
    assert truth is not None
    f = data.residual if isinstance(data, KnownEquation) else truth.lift(data.target)
    pushed, answer = push(f, truth, x)
    torch.testing.assert_close(pushed, answer.expand_as(pushed), atol=1e-9 * float(pushed.abs().max() + 1), rtol=1e-9)


@pytest.mark.parametrize("kind", ALL)
def test_finite_elements_of_the_truth_keep_it(kind: type[KnownFunction]) -> None:
    data = kind()
    truth, x = data.truth(), draw(data, 50)
    assert truth is not None
    f = data.residual if isinstance(data, KnownEquation) else truth.lift(data.target)
    truth.bind(x, f(x)).double()
    # one generator at a time: the answers of a learned output compose along one-parameter groups
    for k in range(truth.group.count):
        t = torch.zeros(50, truth.group.count, dtype=torch.float64)
        t[:, k] = 0.2
        g = truth.group.exp(t)
        moved, answer = f(truth.move_input(g, x)), truth.move_output(g, f(x))
        # flows are integrated; the others are rounded
        torch.testing.assert_close(moved, answer, atol=1e-6, rtol=1e-6)


def elementary(size: int) -> Tensor:
    """All matrices with a single one, row by row."""
    return torch.eye(size * size, dtype=torch.float64).unflatten(1, (size, size))


def joint(data: KnownFunction, sizes: tuple[int, int]) -> Tensor:
    """All linear motions of inputs (before) and of outputs (behind): a zero combination is a symmetry."""
    x = draw(data)
    y = data.target(x)
    inside = [torch.func.jvp(data.target, (x,), (x @ a.mT,))[1] for a in elementary(sizes[0])]
    outside = [-(y @ b.mT) for b in elementary(sizes[1])]
    return torch.stack((*inside, *outside), 1)


@pytest.mark.parametrize(("data", "sizes", "dimension"), [(CrossProduct(), (6, 3), 12), (TwoBodyForces(), (4, 4), 18)])
def test_no_other_linear_symmetry_exists(data: KnownFunction, sizes: tuple[int, int], dimension: int) -> None:
    values, rows = kernel(joint(data, sizes))
    assert float(values[-dimension]) < 1e-10 and float(values[-dimension - 1]) > 1e-3
    truth = data.truth()
    (action,) = (action for _, action in truth.output.moving)
    declared = torch.cat((truth.group.basis().flatten(1), action.generators().flatten(1)), 1)
    dead = rows.new_zeros(0, rows.shape[1])
    if dimension > len(declared):
        # matrices of the output that vanish on what is answered
        answers = kernel(joint(data, sizes)[:, sizes[0] ** 2 :])[1][-(dimension - len(declared)) :]
        dead = torch.cat((answers.new_zeros(len(answers), sizes[0] ** 2), answers), 1)
    assert same_span(rows[-dimension:], torch.cat((declared, dead)))


@pytest.mark.parametrize(("data", "group"), [(FourMomenta(), "GL(4)"), (VectorPairs(), "GL(5)")])
def test_no_other_matrix_keeps_the_invariants(data: KnownFunction, group: str) -> None:
    truth = data.truth()
    candidates = by_name(group)
    pushed, _ = push(data.target, Symmetry(candidates, f"vector({candidates.dim})", "scalar"), draw(data))
    values, rows = kernel(pushed)
    count = truth.group.bind(candidates.dim).count
    assert float(values[-count]) < 1e-10 and float(values[-count - 1]) > 1e-3
    found = rows[-count:] @ candidates.basis().double().flatten(1)
    assert same_span(found, truth.group.basis().double().flatten(1))


@pytest.mark.parametrize(("kind", "count"), [("hopf", 1), ("van_der_pol", 0)])
def test_oscillators_have_no_other_quadratic_symmetry(kind: str, count: int) -> None:
    data = LimitCycle(kind)
    symmetry = Symmetry("polynomials(2)", "points", "velocity")
    pushed, answer = push(symmetry.lift(data.target), symmetry, draw(data))
    values, rows = kernel((pushed - answer)[:, :, 1])
    assert float(values[-count - 1]) > 1e-3
    if count:
        assert float(values[-1]) < 1e-12
        turn = torch.zeros(2, 6, dtype=torch.float64)
        turn[0, 1], turn[1, 0] = -1, 1
        assert same_span(rows[-1:], turn.reshape(1, -1))


@pytest.mark.parametrize(("kind", "count"), [(HeatJets, 8), (KdVJets, 4)])
def test_equations_have_no_other_symmetry_of_degree_two(kind: type[KnownEquation], count: int) -> None:
    data = kind()
    group = by_name("polynomials(2)")
    pushed, _ = push(data.residual, Symmetry(group, data.jet, "scalar"), draw(data))
    values, rows = kernel(pushed)
    assert float(values[-count]) < 1e-12 and float(values[-count - 1]) > 1e-5
    assert same_span(rows[-count:], as_fields(data.truth().group))


def as_fields(group: Group) -> Tensor:
    """Write generators of (t, x, u) as coefficients of quadratic fields."""
    numbers = group.coefficients().double()
    if group.linear:
        numbers = torch.nn.functional.pad(numbers[:, :3], (0, 6))
    return numbers.flatten(1)


@pytest.mark.parametrize("kind", EQUATIONS)
def test_points_solve_their_equation(kind: type[KnownEquation]) -> None:
    data = kind()
    x = draw(data)
    torch.testing.assert_close(data.residual(x), torch.zeros(200, 1).double(), atol=1e-9, rtol=0)
    # and a rate that is something else leaves a residual
    assert float(data.residual(x, lambda inputs: 0 * inputs[:, :1]).abs().max()) > 0.1
    assert data.inputs(x).shape == (200, len(data.reads.split()))


def by_differentiation(u: Callable[[Tensor], Tensor], jet: Jet, place: Tensor) -> Tensor:
    """The columns of a function of (t, x), told by differentiating it again and again."""
    columns = [place]
    for name in jet.columns[2:]:
        f = u
        for letter in name[2:]:
            axis = torch.eye(2, dtype=place.dtype)["tx".index(letter)]
            f = lambda p, f=f, axis=axis: torch.func.jvp(f, (p,), (axis.expand_as(p),))[1]  # noqa: E731
        columns.append(f(place)[:, None])
    return torch.cat(columns, 1)


def test_the_columns_of_solitons_are_derivatives_of_one_function() -> None:
    data, k, delta = KdVJets(), torch.tensor([1.2, 0.5]).double(), torch.tensor([0.3, -0.7]).double()
    place = Rng(3).normal(20, 2, dtype=torch.float64)

    def potential(p: Tensor) -> Tensor:
        a, b = (k * p[:, 1:] - k**3 * p[:, :1] + delta).exp().unbind(1)
        return 12 * (1 + a + b + ((k[0] - k[1]) / (k[0] + k[1])) ** 2 * a * b).log()

    def u(p: Tensor) -> Tensor:
        axis = torch.tensor([0.0, 1.0]).double().expand_as(p)
        return torch.func.jvp(lambda q: torch.func.jvp(potential, (q,), (axis,))[1], (p,), (axis,))[1]

    solved = data.solve(place, k.expand(20, 2), delta.expand(20, 2))
    torch.testing.assert_close(solved, by_differentiation(u, data.jet, place))


def test_the_columns_of_waves_are_derivatives_of_one_function() -> None:
    data, rng = HeatJets(diffusivity=0.7, waves=3), Rng(4)
    place, size, k, phase = (rng.normal(20, n, dtype=torch.float64) for n in (2, 3, 3, 3))

    def u(p: Tensor) -> Tensor:
        return (size * (-0.7 * k * k * p[:, :1]).exp() * (k * p[:, 1:] + phase).cos()).sum(1)

    torch.testing.assert_close(data.solve(place, size, k, phase), by_differentiation(u, data.jet, place))


def test_momenta_lie_on_their_mass_shell() -> None:
    data = FourMomenta()
    y = data.target(draw(data))
    assert 0.25 <= float(y[:, :2].min()) and float(y[:, :2].max()) <= 2.25
    # the product of two timelike vectors is at least that of their masses
    assert bool((y[:, 2] >= (y[:, 0] * y[:, 1]).sqrt() - 1e-12).all())


def test_scaled_targets_have_unit_variance() -> None:
    y = everything(make(VectorPairs, samples=20000).train_dataloader())[1]
    assert float(y.mean()) == pytest.approx(0, abs=0.03) and float(y.std()) == pytest.approx(1, abs=0.05)


def test_newton_s_third_law_holds() -> None:
    data = TwoBodyForces()
    y = data.target(draw(data))
    torch.testing.assert_close(y[:, :2], -y[:, 2:])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("double", [False, True])
def test_parts_come_in_the_type_that_was_asked_for(kind: type[KnownFunction], double: bool) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    data, again, other = (make(kind, samples=100, seed=seed, double=double) for seed in (3, 3, 4))
    x, y = everything(data.train_dataloader())
    assert x.dtype == y.dtype == (torch.float64 if double else torch.float32) and len(x) == len(y) == 100
    assert torch.equal(x, everything(again.train_dataloader())[0])
    assert not torch.equal(x, everything(other.train_dataloader())[0])
    assert len(data.parts["val"]) == len(data.parts["test"]) == 2000
    assert torch.equal(torch.get_rng_state(), before)
    scale = 1e-12 if double else 1e-3
    torch.testing.assert_close(data.target(x), y, atol=scale, rtol=scale)


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [(kind, {"samples": 0}) for kind in ALL]
    + [(LimitCycle, {"kind": "lorenz"}), (LimitCycle, {"radius": 0.0})]
    + [(HeatJets, {"diffusivity": 0.0}), (HeatJets, {"waves": 0}), (CrossProduct, {"batch_size": 0})],
)
def test_senseless_settings_are_refused(kind: type[KnownSymmetry], kwargs: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting):
        kind(**kwargs)


def test_affine_candidates_of_the_hopf_field_are_rotations_alone() -> None:
    data = LimitCycle()
    symmetry = Symmetry(Affine(2), "points", "velocity")
    pushed, answer = push(symmetry.lift(data.target), symmetry, draw(data))
    values, _ = kernel((pushed - answer)[:, :, 1])
    assert float(values[-1]) < 1e-12 and float(values[-2]) > 1e-2
