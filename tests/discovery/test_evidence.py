"""Evidence: oracles, invariances, and the verdicts on measured cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_symmetry.discovery import judge, measure_violation, random_violation, support_coverage
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import SO
from lightning_symmetry.symmetry import Symmetry

ROTATION = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
CAP = math.sqrt(2) * math.pi / 2


def points(rows: int = 64, size: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))


def turning(x: Tensor) -> Tensor:
    """A map of two vectors of the plane that rotations leave alone."""
    q, p = x[:, :2], x[:, 2:]
    return q.norm(dim=1, keepdim=True) * p + (q * p).sum(1, keepdim=True) * q


def broken(x: Tensor) -> Tensor:
    return torch.stack((torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2], torch.tanh(1.5 * x[:, 3])), 1)


def vectors() -> Symmetry:
    return Symmetry.parse("learned(2) on vector(2) -> vector(2)").bind(points(), turning(points()))


def test_a_symmetric_map_violates_nothing_and_a_broken_one_does() -> None:
    x, symmetry = points(), vectors()
    assert measure_violation(turning, x, symmetry, ROTATION).item() < 1e-9
    assert measure_violation(broken, x, symmetry, ROTATION).item() > 0.1
    control = random_violation(turning, x, symmetry)
    assert control is not None and control > 0.1


def test_the_violation_equals_a_plain_loop() -> None:
    x, symmetry, angle = points(16), vectors(), 0.7
    generators = torch.stack([ROTATION[0] * 3, torch.tensor([[0.5, 0.2], [-0.4, 0.1]])])
    y = broken(x)
    spread = sum(float((row - y.mean(0)).square().sum()) for row in y) / len(y)
    for found, generator in zip(measure_violation(broken, x, symmetry, generators, angle), generators, strict=True):
        direction = math.sqrt(2) * generator / generator.norm()
        total = 0.0
        for sign in (1, -1):
            g = torch.matrix_exp(sign * angle * direction)
            for row in x:
                moved = torch.cat((g @ row[:2], g @ row[2:]))
                total += float((broken(moved[None])[0] - g @ broken(row[None])[0]).square().sum())
        assert float(found) == pytest.approx(total / (2 * len(x)) / spread, rel=1e-4)


def test_norm_and_sign_of_a_generator_do_not_matter() -> None:
    x, symmetry = points(), vectors()
    found = measure_violation(broken, x, symmetry, torch.cat((ROTATION, 1e-3 * ROTATION, -9 * ROTATION)))
    torch.testing.assert_close(found, found[:1].expand(3), rtol=1e-4, atol=0)


def test_nothing_is_measured_on_nothing() -> None:
    x, symmetry = points(), vectors()
    assert measure_violation(broken, x, symmetry, torch.zeros(1, 2, 2)).item() == 0
    assert measure_violation(broken, x, symmetry, torch.zeros(0, 2, 2)).shape == (0,)


def test_trees_and_known_groups() -> None:
    x = {"pos": points(), "charge": torch.arange(64)}
    symmetry = Symmetry.parse("SO(2) on pos=vector(2) -> energy=scalar, force=vector")
    found = measure_violation(
        lambda t: {"energy": t["pos"][:, :2].norm(dim=1), "force": t["pos"][:, 2:], "index": t["charge"]}, x, symmetry
    )
    assert found.item() < 1e-9


def test_a_learned_representation_is_moved_by_its_own_coordinates() -> None:
    x = points(64, 2)
    symmetry = Symmetry.parse("learned(1) on vector -> learned").bind(x, x)
    with torch.no_grad():
        symmetry.group.weight.copy_(1.5 * ROTATION)  # type: ignore[union-attr]
        symmetry.output.moving[0][1].restore(-1.5 * ROTATION)  # type: ignore[operator]
    assert measure_violation(lambda x: x.flip(1), x, symmetry).item() < 1e-9
    assert measure_violation(lambda x: x, x, symmetry).item() > 0.1
    assert random_violation(lambda x: x, x, symmetry) is None
    with pytest.raises(InvalidSetting, match="Leave generators out"):
        measure_violation(lambda x: x, x, symmetry, ROTATION)


def test_random_directions_stay_in_the_block_mask_and_off_the_global_generator() -> None:
    x = points(64, 4)
    symmetry = Symmetry.parse("learned(1, blocks=2) on vector -> scalar").bind(x)
    before = torch.get_rng_state()
    # a map of the first block alone: were the directions dense, they would carry the second block over
    found = random_violation(lambda x: x[:, 2:] * 0 + 1.0 * (x[:, :2] != x[:, :2]), x, symmetry)
    dense = random_violation(lambda x: x[:, :1], x, symmetry, seed=1)
    assert found == 0 and dense is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert random_violation(lambda x: x[:, :1], x, symmetry, seed=1) == dense


def test_an_output_without_numbers_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="logits"):
        measure_violation(lambda x: x.argmax(1), points(), Symmetry.parse("SO(2) on vector(2) -> scalar"))


def test_coverage_tells_a_circle_from_a_sector() -> None:
    angle = torch.linspace(-math.pi, math.pi, 201)[:-1]
    circle = torch.stack((angle.cos(), angle.sin()), 1)
    sector = torch.stack(((angle / 4).cos(), (angle / 4).sin()), 1)
    turns = SO(2).exp((7 * torch.arange(200.0) * 2 * math.pi / 200)[:, None])
    assert support_coverage(circle, turns(circle[:, None])[:, 0]) == 1
    found = support_coverage(sector, turns(sector[:, None])[:, 0])
    assert 0.1 < found < 0.4
    assert support_coverage(circle, circle + 5) == 0
    with pytest.raises(InvalidSetting):
        support_coverage(circle[:1], circle)


@pytest.mark.parametrize(
    ("norms", "violation", "generators", "overall"),
    [
        # one true generator, one spare; one true, two spare
        ([2.22, 0.20], [0.0006, 0.74], ("accepted", "spare"), "symmetric"),
        ([2.22, 0.17, 0.22], [0.0005, 0.69, 0.79], ("accepted", "spare", "spare"), "symmetric"),
        # grown far beyond the cap
        ([6.3, 6.39, 6.3, 0.27], [0.0003] * 3 + [0.4], ("accepted",) * 3 + ("spare",), "symmetric"),
        # no symmetry: everything collapses
        ([0.005], [0.7], ("spare",), "absent"),
        ([0.14], [0.8], ("spare",), "absent"),
        ([0.06, 0.13], [0.8, 0.7], ("spare", "spare"), "absent"),
        # large but violated; small but obeyed; in between
        ([2.2, 0.1], [0.5, 0.7], ("undecided", "spare"), "undecided"),
        ([0.3], [0.0001], ("undecided",), "undecided"),
        ([0.8], [0.0001], ("undecided",), "undecided"),
        ([2.2], [float("nan")], ("undecided",), "undecided"),
    ],
)
def test_verdicts_on_measured_cases(
    norms: list[float], violation: list[float], generators: tuple[str, ...], overall: str
) -> None:
    judgement = judge(norms, CAP, violation, random_violation=0.75)
    assert judgement.generators == generators
    assert judgement.overall == overall


def test_the_control_counts_for_one_output_variance_at_most() -> None:
    assert judge([2.2], CAP, [0.5], random_violation=50.0).overall == "undecided"
    assert judge([2.2], CAP, [0.09], random_violation=50.0).overall == "symmetric"


def test_without_a_control_the_bound_is_absolute() -> None:
    assert judge([2.2], CAP, [0.01], None).overall == "symmetric"
    assert judge([2.2], CAP, [0.2], None).overall == "undecided"


def test_a_symmetry_where_there_are_no_data_is_no_evidence() -> None:
    assert judge([2.2], CAP, [0.0001], 1.0, coverage=0.11).overall == "undecided"
    assert judge([2.2], CAP, [0.0001], 1.0, coverage=0.5).overall == "symmetric"
    assert judge([0.1], CAP, [0.9], 1.0, coverage=0.11).overall == "absent"


def test_given_generators_are_judged_by_violation_alone() -> None:
    assert judge([1.0, 0.1], None, [0.01, 0.01], 0.8).generators == ("accepted", "accepted")
    assert judge([1.4], None, [0.7], 0.8).overall == "absent"
    assert judge([1.4], None, [0.2], 0.8).overall == "undecided"
    with pytest.raises(InvalidSetting):
        judge([1.0], None, [], 0.8)


def test_samples_that_are_kept_twice_cover_no_less() -> None:
    """Doubled rows lie at no distance from one another, which says nothing of how dense the data are."""
    generator = torch.Generator().manual_seed(0)
    data, moved = torch.randn(60, 2, generator=generator), torch.randn(40, 2, generator=generator)
    once = support_coverage(data, moved)
    assert once > 0.5 and support_coverage(data.repeat(4, 1), moved) == once
