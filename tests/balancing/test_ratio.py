"""The ratio rule: its closed form, its window, and what is known to be true or false."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_symmetry.balancing import Ratio
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.testing import BalancerContract

NAN = math.nan


class TestRatio(BalancerContract):
    """The window is open in the middle of what the contract trains."""

    subject = Ratio

    def make(self) -> Ratio:
        return Ratio(start=10, window=6)


class TestRepeatedRatio(TestRatio):
    def make(self) -> Ratio:
        return Ratio(start=4, window=3, strength=[2.0, 0.0, 1.0], repeat=True)


def teach(rule: Ratio, rows: list[list[float]], start: int = 0) -> list[float]:
    """Tell it values, one row a batch; returns the strengths after them."""
    for step, row in enumerate(rows, start):
        rule.track(torch.tensor(row, dtype=torch.float64), step)
    return rule.strengths(len(rows[0]), start + len(rows))


def once(values: list[float], **settings: float) -> list[float]:
    """Apply the rule to the values of one batch."""
    return teach(Ratio(start=1, window=1, repeat=False, **{"strength": 1.0, **settings}), [values])


def test_the_closed_form() -> None:
    """lambda_k = lambda_0 (min R / R_k)^p."""
    assert once([0.02, 0.04, 0.06], strength=5.0) == pytest.approx([5.0, 5.0 / 4, 5.0 / 9])
    assert once([0.02, 0.04, 0.06], power=5.0) == pytest.approx([1.0, 2**-5, 3**-5])


def test_the_measured_rows_of_the_published_experiment() -> None:
    """Inertia with one axis left, and with all three: R and lambda as measured, lambda_0 = 100."""
    assert once([6.5e-4, 6.6e-4, 1e-5], strength=100.0) == pytest.approx([0.0237, 0.0230, 100.0], rel=5e-3)
    assert once([0.668, 0.664, 0.087]) == pytest.approx([0.017, 0.017, 1.0], rel=0.02)


def test_where_all_are_true_all_keep_their_strength() -> None:
    assert min(once([1e-3, 1.03e-3, 1.06e-3])) > 0.88
    # what no computation can tell from zero does not count against another
    assert once([0.0, 1e-13, 3e-13]) == [1.0, 1.0, 1.0]


def test_where_one_is_true_it_alone_keeps_its_strength() -> None:
    strengths = once([0.9, 0.003, 1.1])
    assert strengths[1] == 1.0 and max(strengths[0], strengths[2]) < 2e-5


def test_where_none_is_true_all_lose_their_strength() -> None:
    assert once([1.0, 2.5, 1.6]) == pytest.approx([0.5**2, 0.5**2 / 2.5**2, 0.5**2 / 1.6**2])
    assert max(once([1.0, 2.5, 1.6], gate=math.inf)) == 1.0


def test_a_strength_keeps_a_millionth() -> None:
    assert once([1e-6, 1.0], power=5.0) == [1.0, 1e-6]


def test_errors_are_averaged_over_the_window_and_nothing_else() -> None:
    """Of ten batches, those from the sixth on count: their means are 0.02 and 0.04."""
    before = [[7.0, 1e-9]] * 6
    window = [[0.01, 0.04], [0.03, 0.05], [0.01, 0.03], [0.03, 0.04]]
    after = [[5.0, 1e-9]] * 20
    rule = Ratio(start=10, window=4, strength=1.0, repeat=False)
    assert teach(rule, before + window[:-1]) == [1.0, 1.0]
    assert teach(rule, window[-1:], 9) == pytest.approx([1.0, 0.25])
    assert teach(rule, after, 10) == pytest.approx([1.0, 0.25])


def test_the_window_is_a_share_of_the_training_or_a_number_of_batches() -> None:
    shares, batches = Ratio(start=0.2, window=0.05, strength=1.0), Ratio(start=40, window=10, strength=1.0)
    for rule in (shares, batches):
        rule.plan(200)
    generator = torch.Generator().manual_seed(0)
    rows = (0.05 * torch.rand(60, 3, generator=generator)).tolist()
    assert teach(shares, rows[:39]) == teach(batches, rows[:39]) == [1.0] * 3
    assert teach(shares, rows[39:], 39) == teach(batches, rows[39:], 39) != [1.0] * 3
    means = torch.tensor(rows)[30:40].mean(0)
    assert batches.strengths(3, 60) == pytest.approx(((means.min() / means) ** 2).tolist())


def test_symmetries_that_take_turns_are_averaged_over_their_own() -> None:
    rows = [[0.01, NAN, NAN], [NAN, 0.02, NAN], [NAN, NAN, 0.04], [0.03, NAN, NAN], [NAN, 0.06, NAN]]
    rule = Ratio(start=5, window=5, strength=1.0, repeat=False)
    assert teach(rule, rows) == pytest.approx([1.0, 0.25, 0.25])


def test_the_window_stays_open_until_everything_was_measured() -> None:
    rule = Ratio(start=2, window=2, strength=1.0, repeat=False)
    assert teach(rule, [[0.01, NAN], [0.01, NAN], [0.01, NAN]]) == [1.0, 1.0]
    assert teach(rule, [[NAN, 0.02]], 3) == pytest.approx([1.0, 0.25])


def test_repeated_it_goes_half_of_the_way_and_comes_back() -> None:
    rule = Ratio(start=3, window=1, strength=1.0, repeat=True)
    rows = [[0.5, 0.5], [0.5, 0.5], [0.01, 0.1]]
    assert teach(rule, rows) == pytest.approx([1.0, 0.1])
    assert teach(rule, rows, 3) == pytest.approx([1.0, math.sqrt(0.1 * 0.01)])
    assert teach(rule, rows * 20, 6) == pytest.approx([1.0, 0.01], rel=1e-4)
    assert teach(rule, [[0.01, 0.01]] * 60, 66) == pytest.approx([1.0, 1.0], rel=1e-4)


def test_it_repeats_where_nobody_knows_the_length_of_the_training() -> None:
    known, unknown = (Ratio(start=2, window=2, strength=1.0) for _ in range(2))
    known.plan(1000)
    unknown.plan(None)
    for rule in (known, unknown):
        teach(rule, [[0.01, 0.02]] * 2)
    assert teach(known, [[0.02, 0.01]] * 40, 2) == pytest.approx([1.0, 0.25])
    assert teach(unknown, [[0.02, 0.01]] * 40, 2) == pytest.approx([0.25, 1.0], rel=1e-3)


def test_a_loss_of_strength_0_takes_no_part() -> None:
    assert once([1e-9, 0.02, 0.04], strength=[0.0, 1.0, 3.0]) == pytest.approx([0.0, 1.0, 0.75])
    assert once([NAN, 0.02, 0.04], strength=[0.0, 1.0, 3.0]) == pytest.approx([0.0, 1.0, 0.75])


def test_only_errors_of_the_same_loss_are_compared() -> None:
    """Two losses for each of two symmetries, of quite different sizes."""
    rule = Ratio(start=1, window=1, repeat=False, strength=1.0)
    rule.losses = 2
    assert teach(rule, [[0.02, 1e-4, 0.04, 3e-4]]) == pytest.approx([1.0, 1.0, 0.25, 1 / 9])


def test_the_automatic_strength_makes_the_penalties_a_tenth_of_the_loss() -> None:
    """Of a hundred batches in the first hundredth, the second fifty count."""
    rule = Ratio()
    rule.plan(10_000)
    for step in range(100):
        assert rule.strengths(2, step) == [0.0, 0.0]
        rule.observe(99.0 if step < 50 else 3.0 + step % 2, moved=False)
        rule.track(torch.tensor([9.0, 9.0] if step < 50 else [0.2, 0.3]), step)
    strengths = rule.strengths(2, 100)
    assert strengths[0] == strengths[1]
    assert strengths[0] * (0.2 + 0.3) == pytest.approx(0.1 * 3.5)


def test_the_automatic_strength_is_in_the_units_of_the_loss_and_bounded() -> None:
    def choose(loss: float, error: float) -> float:
        rule = Ratio()
        rule.plan(100)
        rule.observe(loss, moved=False)
        rule.track(torch.tensor([error]), 0)
        return rule.strengths(1, 1)[0]

    assert choose(1e3, 0.5) == pytest.approx(1e3 * choose(1.0, 0.5))
    assert choose(-2.0, 0.5) == choose(2.0, 0.5)
    assert choose(1.0, 0.0) == pytest.approx(100.0)


def test_numbers_of_losses_that_do_not_fit_are_refused() -> None:
    rule = Ratio(strength=1.0)
    teach(rule, [[0.1, 0.1]])
    with pytest.raises(InvalidSetting, match="got 3 losses .*learnt 2"):
        rule.strengths(3, 1)
    with pytest.raises(InvalidSetting, match="2 strengths for 3"):
        Ratio(strength=[1.0, 2.0]).strengths(3, 0)


@pytest.mark.parametrize(
    "settings",
    [{"power": 0}, {"start": 0}, {"window": -1}, {"gate": 0}, {"share": 0}, {"strength": -1.0}],
)
def test_settings_without_sense_are_refused(settings) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        Ratio(**settings)


@pytest.mark.parametrize(
    ("rows", "errors", "decades"),
    [
        (4, (0.063, 0.037, 0.011), 0.44),
        (6, (0.0365, 0.0160, 0.0014), 0.77),
        (12, (0.0024, 0.0020, 0.0011), 1.69),
        (100, None, 3.15),
    ],
)
def test_the_linear_problem_with_known_truth(rows: int, errors: tuple[float, ...] | None, decades: float) -> None:
    """Regression of an O(2)-equivariant map: the rule finds the axis every time, and its penalty is the best.

    y = W x from rank 2 to rank 2, W exactly equivariant under the O(2) about z and of unit norm, noise 0.02, 20 seeds;
    sum_i |W x_i - y_i|^2 / n + sum_k lambda_k |W - P_k W|^2 / 2 is minimised in closed form with no, equal (0.03) and
    tuned strengths. Known: the test errors of all three, and log10 R_other / R_true.
    """
    projectors = [axial_projector(axis) for axis in range(3)]
    found, ratios = [], []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        truth = projectors[2] @ torch.randn(81, generator=generator, dtype=torch.float64)
        truth = (truth / truth.norm()).view(9, 9)
        x = torch.randn(rows, 9, generator=generator, dtype=torch.float64)
        y = x @ truth.T + 0.02 * torch.randn(rows, 9, generator=generator, dtype=torch.float64)
        free, equal = fit(x, y, projectors, [0.0] * 3), fit(x, y, projectors, [0.03] * 3)
        measured = [float((equal.flatten() - p @ equal.flatten()).square().sum()) / 2 for p in projectors]
        strengths = once(measured, strength=0.03)
        assert strengths.index(max(strengths)) == 2, f"seed {seed}: {strengths}"
        ratios.append(math.log10(math.sqrt(measured[0] * measured[1]) / measured[2]))
        tuned = fit(x, y, projectors, strengths)
        # of one component of y, on standard normal inputs
        found.append([float((answer - truth).square().sum()) / 9 for answer in (free, equal, tuned)])
    mean = torch.tensor(found).mean(0)
    assert mean.argmin() == 2
    # the draws are others than those of the known figures
    assert sum(ratios) / 20 == pytest.approx(decades, abs=0.1)
    if errors is not None:
        assert torch.allclose(mean, torch.tensor(errors), rtol=0.4)


def axial_projector(axis: int) -> torch.Tensor:
    """Project 9x9 maps of rank 2 to those that rotations about an axis and a mirror that contains it leave alone."""
    matrix = torch.zeros(3, 3, dtype=torch.float64)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, j], matrix[j, i] = -1.0, 1.0
    one = torch.eye(3, dtype=torch.float64)
    generator = torch.kron(matrix, one) + torch.kron(one, matrix)
    mirror = one.clone()
    mirror[i, i] = -1.0
    mirror = torch.kron(mirror, mirror)
    nine = torch.eye(9, dtype=torch.float64)
    constraints = torch.cat(
        (
            torch.kron(generator, nine) - torch.kron(nine, generator.T.contiguous()),
            torch.kron(mirror, mirror) - torch.eye(81, dtype=torch.float64),
        )
    )
    _, values, rows = torch.linalg.svd(constraints)
    basis = rows[values < 1e-9]
    assert len(basis) == 10, "the table of dimensions: O(2), rank 2 to rank 2"
    return basis.T @ basis


def fit(x: torch.Tensor, y: torch.Tensor, projectors: list[torch.Tensor], strengths: list[float]) -> torch.Tensor:
    """Minimise the ridge in closed form; the least-norm solution where it leaves something open."""
    one = torch.eye(81, dtype=torch.float64)
    gram = torch.kron(torch.eye(9, dtype=torch.float64), x.T @ x / len(x))
    gram = gram + sum(0.5 * s * (one - p) for s, p in zip(strengths, projectors, strict=True))
    return (torch.linalg.pinv(gram, hermitian=True) @ (y.T @ x / len(x)).flatten()).view(9, 9)
