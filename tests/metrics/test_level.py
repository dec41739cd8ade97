"""The level of a symmetry against plain loops, closed forms, and what answers without a symmetry give."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO
from lightning_symmetry.metrics import ApproximateSymmetryLevel, EquivarianceError
from lightning_symmetry.samplers import Haar
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import MetricContract
from tests.metrics.test_lie_derivative_error import draw, make_map

SENTENCE = "SO(2) on vector(2) -> vector"


class TestApproximateSymmetryLevel(MetricContract):
    subject = ApproximateSymmetryLevel

    def make(self) -> ApproximateSymmetryLevel:
        return ApproximateSymmetryLevel(SENTENCE)


class TestTheLevelOfAFiniteGroup(TestApproximateSymmetryLevel):
    def make(self) -> ApproximateSymmetryLevel:
        return ApproximateSymmetryLevel("D4 on vector(2) -> label", None, folds=4)


def measure(metric: ApproximateSymmetryLevel, f: Any, *batches: Any) -> dict[str, float]:
    for batch in batches:
        metric.update(f, batch)
    return {key: float(value) for key, value in metric.compute().items()}


def circle(count: int, seed: int = 0) -> Tensor:
    x = draw(count, 2, seed=seed)
    return x / x.norm(dim=1, keepdim=True)


def flip(x: Tensor) -> Tensor:
    return x * x.new_tensor([1.0, -1.0])


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / (a.norm() + b.norm()))


def test_it_is_what_a_plain_loop_says() -> None:
    f, batches, n = make_map(2), [draw(9, 2), draw(5, 2, seed=1)], 3
    symmetry = Symmetry.parse(SENTENCE)
    errors, nulls = [], []
    for number, x in enumerate(batches):
        g, _ = symmetry.sample(x, n, Rng(0, number))
        ring = Rng(~0, number).uniform(len(x), dtype=torch.float64).argsort().tolist()
        for i in range(len(x)):
            for j in range(n):
                matrix = g[i * n + j].matrix[0].double()
                moved = f((matrix @ x[i])[None])[0]
                other = ring[(ring.index(i) + 1 + j) % len(x)]
                errors.append(distance(moved, matrix @ f(x[i][None])[0]))
                nulls.append(distance(moved, matrix @ f(x[other][None])[0]))
    found = measure(ApproximateSymmetryLevel(SENTENCE, n), f, *batches)
    assert found["error"] == pytest.approx(sum(errors) / len(errors), rel=1e-6)
    assert found["null"] == pytest.approx(sum(nulls) / len(nulls), rel=1e-6)
    assert found["level"] == pytest.approx(found["error"] / found["null"])
    assert set(found) == {key + end for key in ("error", "null", "level") for end in ("", "_se")}


def test_a_mirror_breaks_rotations_as_much_as_can_be() -> None:
    # with the mirror M, M g x and g M x differ by twice the angle of g: d = |sin|
    quarter = measure(ApproximateSymmetryLevel("C4 on vector(2) -> vector", None), flip, circle(40))
    assert quarter["error"] == pytest.approx(0.5, abs=1e-7)
    symmetry = Symmetry(Haar(SO(2)), "vector", "vector")
    any_angle = measure(ApproximateSymmetryLevel(symmetry, 8), flip, circle(400))
    for key in ("error", "null"):
        assert abs(any_angle[key] - 2 / math.pi) < 4 * any_angle[f"{key}_se"]
    assert abs(any_angle["level"] - 1) < 4 * any_angle["level_se"]


@pytest.mark.parametrize("broken", [0.0, 0.1, 0.5, 1.0])
def test_a_planted_break_is_measured(broken: float) -> None:
    metric = ApproximateSymmetryLevel("C2 on vector(2) -> vector", None)
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    # beside the sample itself, a vector of length b that does not turn with it
    offset = broken * x.new_tensor([0.6, 0.8])
    f = lambda x: torch.cat((x, offset.expand(len(x), 2)), 1)  # noqa: E731
    # the identity adds nothing; -1 leaves (x, b) against (x, -b): 2 b / (2 sqrt(1 + b^2))
    expected = 0.5 * broken / math.sqrt(1 + broken**2)
    assert measure(metric, f, x)["error"] == pytest.approx(expected, abs=1e-6)


CASES: list[tuple[str, Any, Any]] = [
    ("SE(3) on points -> points", lambda x: x + (x - x.mean(1, keepdim=True)), draw(8, 5, 3)),
    ("permutations(5) on nodes -> scalar", lambda x: x.sum(1), draw(8, 5, 2)),
    ("C4 on image -> mask", lambda x: x.square()[:, 0], draw(4, 1, 8, 8)),
    ("SO(2) on vector(2) -> label", lambda x: torch.stack((x.norm(dim=1), x.norm(dim=1) ** 2), 1), draw(8, 2)),
    ("SO(2) on vector(2) -> scalar", lambda x: torch.ones_like(x[:, 0]), draw(8, 2)),
    ("SO(2) on vector(2) -> vector", torch.zeros_like, draw(8, 2)),
]


@pytest.mark.parametrize(("sentence", "f", "x"), CASES, ids=[case[0] for case in CASES])
def test_symmetric_maps_have_none_whatever_moves(sentence: str, f: Any, x: Any) -> None:
    found = measure(ApproximateSymmetryLevel(sentence, 3), f, x)
    assert found["error"] < 1e-6 and all(0 <= found[key] <= 1 for key in ("error", "null"))


def test_maps_that_are_constant_have_no_null_either() -> None:
    for f in (lambda x: torch.ones_like(x[:, 0]), lambda x: torch.zeros_like(x)):
        found = measure(ApproximateSymmetryLevel("SO(2) on vector(2) -> scalar", 3), f, draw(8, 2))
        assert (found["error"], found["null"], found["level"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("sentence", "f"),
    [
        ("C2 on vector(2) -> scalar", lambda x: x[:, 0]),
        ("C4 on vector(2) -> vector", lambda x: torch.tensor([3.0, 4.0], dtype=x.dtype).expand_as(x)),
    ],
)
@pytest.mark.parametrize("n", [4, None])
def test_answers_with_nothing_in_common_are_at_one(sentence: str, f: Any, n: int | None) -> None:
    # the identity, which breaks nothing, is drawn as often as others and counts for neither
    found = measure(ApproximateSymmetryLevel(sentence, n), f, draw(300, 2).abs())
    assert found["level"] == pytest.approx(1, abs=1e-6) and found["error"] < 0.9


def test_a_large_constant_makes_the_error_small_but_not_the_level() -> None:
    # a coordinate and the turned one differ almost as two coordinates do
    symmetry, x = Symmetry(Haar(SO(2)), "vector(2)", "scalar"), draw(400, 2)
    near, far = (measure(ApproximateSymmetryLevel(symmetry), lambda x, c=c: c + x[:, 0], x) for c in (0.0, 1000.0))
    assert far["error"] < 1e-3 < 0.3 < near["error"]
    for found in (near, far):
        assert found["level"] > 0.8


def test_answers_that_are_zero_but_for_rounding_do_not_count() -> None:
    x = torch.cat((circle(32), 2 * circle(32, seed=1))).float()
    # 0 on the unit circle
    found = measure(ApproximateSymmetryLevel(SENTENCE, 4), lambda x: x * (x.square().sum(1, keepdim=True) - 1), x)
    assert found["error"] < 0.02 * found["null"]


def test_classes_are_compared_without_what_softmax_does_not_see() -> None:
    f, x = make_map(3), draw(40, 2)
    metrics = [ApproximateSymmetryLevel("SO(2) on vector(2) -> label", 3) for _ in range(4)]
    plain = measure(metrics[0], f, x)
    assert 0.01 < plain["error"] < 1
    for metric, g in zip(
        metrics[1:],
        (lambda x: f(x) + 50 * x[:, :1], lambda x: 9 * f(x), lambda x: f(x).log_softmax(1)),
        strict=True,
    ):
        assert measure(metric, g, x)["error"] == pytest.approx(plain["error"], rel=1e-6)
    shifted = measure(ApproximateSymmetryLevel("SO(2) on vector(2) -> scalar", 3), lambda x: f(x) + 50, x)
    assert shifted["error"] < 0.2 * plain["error"]


def test_one_logit_is_compared_as_it_is() -> None:
    f, x = make_map(1), draw(40, 2)
    label, scalar = (
        measure(ApproximateSymmetryLevel(f"SO(2) on vector(2) -> {word}", 3), f, x) for word in ("label", "scalar")
    )
    assert label == scalar


def test_masks_have_classes_along_axis_one() -> None:
    x = draw(6, 1, 8, 8)
    f = lambda x: torch.cat((x, x.roll(1, 2), x.roll(2, 3)), 1)  # noqa: E731
    plain, shifted = (
        measure(ApproximateSymmetryLevel("C4 on image -> mask", None), g, x) for g in (f, lambda x: f(x) + 7 * x)
    )
    assert plain["error"] > 0.1
    assert shifted["error"] == pytest.approx(plain["error"], rel=1e-6)
    # (B, H, W): no classes, so that nothing is taken away
    whole = measure(ApproximateSymmetryLevel("C4 on image -> mask", None), lambda x: 1 + x[:, 0].roll(1, 1), x)
    image = measure(ApproximateSymmetryLevel("C4 on image -> image", None), lambda x: 1 + x.roll(1, 2), x)
    assert whole["error"] == pytest.approx(image["error"], rel=1e-6)


def make_graphs() -> dict[str, Tensor]:
    return {"pos": draw(9, 3), "batch": torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 1])}


def test_graphs_and_several_outputs() -> None:
    def f(x: dict[str, Tensor]) -> dict[str, Tensor]:
        p, owner = x["pos"], x["batch"]
        energy = torch.zeros(int(owner.max()) + 1, dtype=p.dtype).index_add(0, owner, p[:, 0].square())
        return {"energy": energy, "force": p * p.norm(dim=1, keepdim=True)}

    sentence = "SO(3) on pos=points -> energy=scalar, force=vector(3)"
    found = measure(ApproximateSymmetryLevel(sentence), f, make_graphs())
    assert found["error/force"] < 1e-6 < found["error/energy"]
    for key in ("error", "null"):
        assert found[key] == pytest.approx((found[f"{key}/energy"] + found[f"{key}/force"]) / 2)
    assert found["level"] == pytest.approx(found["error"] / found["null"])
    assert found["null/force"] > 0.2


def test_a_graph_is_paired_with_the_rows_of_another() -> None:
    x, n = make_graphs(), 4
    metric, identity = ApproximateSymmetryLevel(Symmetry(Haar(SO(3)), "pos=points", "vector(3)"), n), lambda x: x["pos"]
    found = measure(metric, identity, x)
    ring = Rng(~0, 0).uniform(3, dtype=torch.float64).argsort().tolist()
    graphs = [x["pos"][x["batch"] == k] for k in range(3)]
    nulls = []
    for draw_number in range(n):
        for k, graph in enumerate(graphs):
            other = graphs[ring[(ring.index(k) + 1 + draw_number % 2) % 3]]
            # the group moves both alike
            nulls.append(distance(graph, other[[i % len(other) for i in range(len(graph))]]))
    assert found["null"] == pytest.approx(sum(nulls) / len(nulls), rel=1e-6)


def test_a_sample_alone_has_no_null() -> None:
    f, x = make_map(2), draw(5, 2)
    alone = measure(ApproximateSymmetryLevel(SENTENCE), f, *x.split(1))
    assert math.isnan(alone["null"]) and math.isnan(alone["level"]) and alone["error"] > 0
    mixed, paired = (measure(ApproximateSymmetryLevel(SENTENCE), f, *parts) for parts in ((x, x[:1]), (x,)))
    assert mixed["null"] == pytest.approx(paired["null"])


def test_what_moving_there_and_back_costs_is_told_where_pixels_are_read_between() -> None:
    bump = torch.exp(-torch.linspace(-3, 3, 24, dtype=torch.float64).square())
    x = (bump[:, None] * bump) * (1 + 0.5 * draw(8, 1, 24, 24))
    # a mean over all pixels is as symmetric as pixels allow
    f = lambda x: x.square().mean((1, 2, 3))  # noqa: E731
    turned = measure(ApproximateSymmetryLevel("SO(2) on image -> scalar"), f, x)
    assert 1e-3 < turned["error"] < 2 * turned["floor"]
    quarter = measure(ApproximateSymmetryLevel("C4 on image -> scalar", None), f, x)
    assert quarter["floor"] < 1e-6
    broken = measure(ApproximateSymmetryLevel("C4 on image -> scalar", None), lambda x: x[:, 0, 0, 0], x)
    assert broken["floor"] < 1e-6 < 0.1 < broken["error"]


def test_ranks_add_up_to_one_process() -> None:
    f, x = make_map(2), draw(40, 2)

    def measure_rank(rank: int, world: int) -> ApproximateSymmetryLevel:
        metric = ApproximateSymmetryLevel(SENTENCE)
        metric.next_batch = lambda: (0, rank, world)  # type: ignore[method-assign]
        metric.update(f, x[rank::world])
        return metric

    one, two = measure_rank(0, 1), measure_rank(0, 2)
    two.merge_state(measure_rank(1, 2))
    left, right = one.compute(), two.compute()
    for key in ("error", "error_se"):
        torch.testing.assert_close(left[key], right[key], rtol=1e-9, atol=0.0)
    # partners are of the same rank, so that others are met
    assert abs(float(left["null"] - right["null"])) < 4 * float(left["null_se"])


def test_the_level_agrees_with_the_relative_error_where_all_answers_are_as_large() -> None:
    x = circle(50)
    level = measure(ApproximateSymmetryLevel("C4 on vector(2) -> vector", None), flip, x)
    metric = EquivarianceError("C4 on vector(2) -> vector", None)
    metric.update(flip, x)
    # d is 0, 1, 0, 1: its mean is 1/2, the root of its mean square sqrt(1/2)
    assert float(metric.compute()["error"]) == pytest.approx(math.sqrt(level["error"]), rel=1e-6)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="at least one draw"):
        ApproximateSymmetryLevel(SENTENCE, 0)
    with pytest.raises(InvalidSetting, match="finite group"):
        ApproximateSymmetryLevel(SENTENCE, None).update(lambda x: x, draw(4, 2))
    with pytest.raises(ActionMismatch, match="no output with numbers"):
        ApproximateSymmetryLevel("C4 on vector(2) -> label").update(lambda x: x.argmax(1), draw(4, 2))
