"""Verdicts on symmetries that a network was pressed to: what may be called exact, and what must not."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_symmetry.discovery import (
    SymmetryLevel,
    conclude_levels,
    judge_level,
    judge_levels,
    lay_out_levels,
    load_levels,
    rank_correlation,
    save_levels,
)
from lightning_symmetry.discovery.judging import find_losses
from lightning_symmetry.exceptions import InvalidFile, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.metrics import ApproximateSymmetryLevel
from lightning_symmetry.symmetry import Symmetry

SENTENCE = "SO(2) on vector(2) -> vector"


def judge(
    error: float, null: float | None = 0.6, se: float = 1e-4, floor: float | None = None, **known: Any
) -> SymmetryLevel:
    found = {"error": torch.tensor(error), "error_se": se, "null": math.nan if null is None else null}
    return judge_level("turns", SENTENCE, found | ({} if floor is None else {"floor": floor}), **known)


def ratio(strength: float, best: float = 1.0, **known: Any) -> dict[str, Any]:
    """What the ratio rule leaves of a strength that began at 1, the best kept one being at ``best``."""
    return {"strength": strength, "first_strength": 1.0, "peers": [strength, best], **known}


def dual(multiplier: float, slack: float = -0.01, **known: Any) -> dict[str, Any]:
    return {
        "strength": multiplier,
        "dual": multiplier,
        "slack": slack,
        "epsilon": 0.1,
        "peers": [multiplier, 1.0],
        **known,
    }


def says(level: SymmetryLevel, words: str) -> bool:
    return any(words in note for note in level.notes)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.0, "exact"), (0.001, "exact"), (0.02, "approximate"), (0.25, "approximate"), (0.35, "broken")],
)
def test_the_error_is_measured_by_what_unrelated_answers_differ_by(error: float, verdict: str) -> None:
    level = judge(error)
    assert level.verdict == verdict and level.level == pytest.approx(error / 0.6)


def test_answers_that_share_a_large_constant_are_not_exact() -> None:
    assert judge(4e-4, null=5e-4).verdict == "broken"
    assert judge(4e-4, null=0.6).verdict == "exact"


def test_few_samples_do_not_make_it_exact() -> None:
    sure, unsure = judge(0.004, se=1e-4), judge(0.004, se=0.004)
    assert (sure.verdict, unsure.verdict) == ("exact", "approximate")
    assert says(unsure, "too few samples")
    assert judge(0.004, se=math.nan).verdict == "exact"


def test_reading_pixels_between_excuses_a_small_error_but_not_a_large_one() -> None:
    assert judge(0.03).verdict == "approximate"
    assert judge(0.03, floor=0.04).verdict == "exact" and says(judge(0.03, floor=0.04), "less cannot be told")
    # a network that minds blurring most of all: nothing can be told, so nothing is called exact
    assert judge(0.2, floor=0.3).verdict == "approximate"
    assert judge(0.4, floor=0.5).verdict == "broken"


def test_a_network_that_answers_a_constant_is_exact_and_says_nothing() -> None:
    for level in (judge(0.0, null=0.0), judge(3e-8, null=2e-8)):
        assert level.verdict == "exact" and says(level, "says nothing of the data")
    assert judge(0.3, null=1e-9).verdict == "broken"


def test_what_is_not_finite_is_not_a_symmetry() -> None:
    level = judge(math.nan)
    assert level.verdict == "broken" and says(level, "not finite")


def test_without_a_null_the_error_stands_for_itself() -> None:
    level = judge(0.2, null=None)
    assert level.null is None and level.level == pytest.approx(0.2) and says(level, "stands alone")


def test_a_strength_that_fell_is_evidence_against() -> None:
    fallen, kept = judge(0.1, **ratio(0.017)), judge(0.1, **ratio(1.0, 0.017))
    assert (fallen.verdict, kept.verdict) == ("broken", "approximate")
    assert says(fallen, "fell from 1 to 0.017") and says(kept, "better than those")
    # true candidates stay within a factor of two of each other
    assert judge(0.1, **ratio(0.5)).verdict == "approximate"


def test_all_of_them_may_fall() -> None:
    alone = judge(0.2, strength=1e-4, first_strength=1.0, peers=[1e-4])
    together = [judge(0.2, **ratio(s, 2e-4)) for s in (1e-4, 2e-4)]
    assert {level.verdict for level in (alone, *together)} == {"broken"}


def test_what_holds_without_being_pressed_is_not_broken() -> None:
    level = judge(0.012, **ratio(1e-5))
    assert level.verdict == "approximate" and says(level, "holds without being pressed")
    assert judge(0.001, **ratio(1e-5)).verdict == "exact"


def test_the_best_of_bad_candidates_is_broken() -> None:
    level = judge(0.5, **ratio(1.0, 0.001))
    assert level.verdict == "broken" and says(level, "others fare worse")


def test_a_strength_said_beforehand_is_no_evidence() -> None:
    for known in ({"strength": 10.0}, ratio(1.0), ratio(0.9)):
        level = judge(0.001, **known)
        assert level.verdict == "exact" and says(level, "made to have, not what the data have")
    assert not judge(0.001, strength=0.0).notes
    # strengths chosen by hand differ from the beginning
    weak = judge(0.1, strength=0.01, first_strength=0.01, peers=[1.0, 1.0])
    assert weak.verdict == "approximate"


def test_a_violated_constraint_is_infeasible_however_small_the_error() -> None:
    for known in (
        dual(0.5, 0.4, relaxed=0.4),
        dual(100.0, 0.05, infeasible=True),
        dual(5.0, 0.05, lasting=True),
        dual(5.0, 0.05, lasting=True, relaxed=0.0),
    ):
        level = judge(0.02, **known)
        assert level.verdict == "infeasible" and says(level, "violated") and says(level, "pressed to")
        assert says(judge(0.4, **known), "the data break it")


def test_a_constraint_that_is_met_is_not_infeasible() -> None:
    for known in (
        dual(0.5, 0.05, relaxed=0.05),
        dual(0.5, 0.4, relaxed=0.4, infeasible=False),
        dual(5.0, -0.01, lasting=False),
        # it swings about zero at the end
        dual(5.0, 0.01, lasting=False),
    ):
        assert judge(0.02, **known).verdict == "approximate"


def test_a_symmetry_that_is_paid_for_is_told_from_one_that_is_free() -> None:
    free, paid = judge(0.001, **dual(0.001)), judge(0.001, **dual(14.0))
    assert free.verdict == paid.verdict == "exact"
    assert says(free, "costs the task nothing") and says(paid, "by about 0.14") and says(paid, "multiplier's doing")
    # of multipliers the small ones are the good ones
    assert judge(0.2, **dual(0.001)).verdict == "approximate"


def test_epsilon_follows_from_the_loss_and_its_slack() -> None:
    level = judge(0.1, dual=1.0, measured=0.5, slack=0.4, relaxed=0.4)
    assert level.epsilon == pytest.approx(0.1) and level.verdict == "infeasible"


def test_metrics_are_those_that_exist() -> None:
    assert judge(0.03).metrics() == {"error": pytest.approx(0.03), "level": pytest.approx(0.05)}
    assert set(judge(0.03, **dual(1.0, relaxed=0.0)).metrics()) == {
        "error",
        "level",
        "strength",
        "dual",
        "slack",
        "relaxed",
    }


LEVELS = [
    judge(0.001, **ratio(1.0)),
    dataclasses.replace(judge(0.4, **dual(0.5, 0.4, relaxed=0.4)), name="tilts"),
    dataclasses.replace(judge(0.05), name="other", measured=0.25),
]


def test_levels_survive_plain_values_and_files(tmp_path: Path) -> None:
    for level in LEVELS:
        assert SymmetryLevel.from_dict(json.loads(json.dumps(level.to_dict()))) == level
    broken = SymmetryLevel.from_dict(judge(math.nan).to_dict())
    assert math.isnan(broken.error) and broken.verdict == "broken"
    file = save_levels(LEVELS, tmp_path / "new", {"step": [1.0, 2.0], "turns/strength": [1.0, math.nan]})
    assert load_levels(file) == load_levels(tmp_path / "new") == tuple(LEVELS)
    document = json.loads(file.read_text())
    assert document["curves"]["turns/strength"] == [1.0, None] and document["conclusion"] == conclude_levels(LEVELS)


def test_files_that_are_none_of_ours_are_refused(tmp_path: Path) -> None:
    for text in (
        "{",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 2, "levels": []}',
        '{"format": 1, "levels": [{"a": 1}]}',
    ):
        (tmp_path / "levels.json").write_text(text)
        with pytest.raises(InvalidFile):
            load_levels(tmp_path)
    with pytest.raises(InvalidFile, match="FileNotFound"):
        load_levels(tmp_path / "none.json")


def test_a_table_has_the_columns_that_somebody_fills() -> None:
    header, rows = lay_out_levels(LEVELS)
    assert header[0] == "symmetry" and header[-1] == "verdict" and {"loss", "multiplier", "relaxed"} <= set(header)
    assert "floor" not in header and [row[-1] for row in rows] == ["exact", "infeasible", "approximate"]
    assert rows[2][header.index("multiplier")] == "-"
    assert "multiplier" not in lay_out_levels(LEVELS[:1])[0]


def test_the_conclusion_names_every_symmetry_once() -> None:
    words = conclude_levels(LEVELS)
    assert words == "exact: turns; approximate: other (8.3%); infeasible: tilts (67%)."


def spearman(pairs: list[tuple[float, float]]) -> float | None:
    levels = [SymmetryLevel(str(i), "", e, 0.0, 1.0, "broken", strength=s) for i, (e, s) in enumerate(pairs)]
    return rank_correlation(levels)


def test_ranks_are_correlated_as_spearman_does() -> None:
    assert spearman([(0.1, 1.0), (0.2, 0.5), (0.3, 1e-6)]) == -1
    assert spearman([(0.1, 1.0), (0.2, 3.0), (0.9, 8.0)]) == 1
    # 1 - 6 sum d^2 / (n (n^2 - 1)) without ties, here with one exchange of neighbours among four
    assert spearman([(1, 4), (2, 3), (3, 1), (4, 2)]) == pytest.approx(-0.8)
    scipy = pytest.importorskip("scipy.stats")
    values = Rng(0).integers(5, 12, 2).double()
    expected = scipy.spearmanr(*values.T.tolist()).statistic
    assert spearman([(float(a), float(b)) for a, b in values]) == pytest.approx(expected)


def test_too_few_symmetries_have_no_ranks() -> None:
    assert spearman([(0.1, 1.0), (0.2, 0.5)]) is None
    assert spearman([(0.1, 1.0), (0.2, 1.0), (0.3, 1.0)]) is None
    assert rank_correlation(LEVELS) is None


def symmetries(*names: str) -> list[Symmetry]:
    return [Symmetry.parse(SENTENCE, name=name) for name in names]


def test_what_a_training_knows_is_collected() -> None:
    found = [{"error": 0.001, "null": 0.6}, {"error": 0.1, "null": 0.6}]
    curves = {
        "step": [float(s) for s in range(20)],
        # the automatic strength is 0 at first
        "x/strength": [0.0, *[2.0] * 19],
        "y/strength": [0.0, *[2.0] * 9, *[0.02] * 10],
        "x/equivariance": [0.9] * 10 + [math.nan, 0.3] * 5,
        "y/equivariance": [0.9] * 18 + [0.5, math.nan],
    }
    x, y = judge_levels(symmetries("x", "y"), found, {"strength": [2.0, 0.02]}, curves)
    assert (x.verdict, y.verdict) == ("exact", "broken")
    assert (x.first_strength, x.measured, y.strength) == (2.0, pytest.approx(0.3), 0.02)
    # the mean of the last tenth of what was measured
    assert y.measured == pytest.approx((0.5 + 0.9) / 2)


def test_where_a_strength_began_may_be_told_by_the_balancer() -> None:
    found, readings = [{"error": 0.2, "null": 0.6}] * 2, {"strength": [1.0, 0.01], "first_strength": [1.0, 1.0]}
    # the first curve that was kept may be of a time after the adjustment
    curves = {"x/strength": [1.0, 1.0], "y/strength": [0.01, 0.01]}
    told, silent = (
        judge_levels(symmetries("x", "y"), found, known, curves) for known in (readings, {"strength": [1.0, 0.01]})
    )
    assert [level.verdict for level in told] == ["approximate", "broken"]
    assert [level.verdict for level in silent] == ["approximate", "approximate"]


def test_a_slack_counts_where_it_lasts() -> None:
    found = [{"error": 0.2, "null": 0.6}] * 2
    readings = {"strength": [3.0, 3.0], "dual": [3.0, 3.0], "slack": [0.1, 0.1]}
    curves = {"x/slack": [0.1] * 40, "y/slack": [0.1, -0.1] * 19 + [math.nan, 0.1]}
    x, y = judge_levels(symmetries("x", "y"), found, readings, curves)
    assert (x.verdict, y.verdict) == ("infeasible", "approximate")
    short = judge_levels(symmetries("x", "y"), found, readings, {"x/slack": [0.1, 0.1]})[0]
    assert short.verdict == "approximate"


def test_the_balancer_may_say_itself_what_cannot_be_met() -> None:
    readings = {"strength": [3.0], "dual": [3.0], "slack": [math.nan], "relaxed": [0.0], "infeasible": [1.0]}
    level = judge_levels(symmetries("x"), [{"error": 0.2, "null": 0.6}], readings)[0]
    assert level.verdict == "infeasible" and level.slack is None


def test_of_several_losses_the_strongest_counts() -> None:
    found = [{"error": 0.2, "null": 0.6}] * 2
    names = [
        f"{name}/{word}_{loss}" for name in "xy" for word in ("strength",) for loss in ("equivariance", "projection")
    ]
    curves = {key: [1.0, 1.0] for key in names}
    curves |= {f"x/{loss}": [value, value] for loss, value in (("equivariance", 0.3), ("projection", 0.7))}
    x, y = judge_levels(symmetries("x", "y"), found, {"strength": [0.1, 0.5, 1.0, 0.2]}, curves)
    assert (x.strength, x.measured, x.first_strength) == (0.5, 0.7, 1.0)
    assert (y.strength, y.measured) == (1.0, None)
    assert find_losses(curves, "x") == ["x/equivariance", "x/projection"]


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="one each"):
        judge_levels(symmetries("x", "y"), [{"error": 0.1}])
    with pytest.raises(InvalidSetting, match="3 values of 'strength'"):
        judge_levels(symmetries("x", "y"), [{"error": 0.1}] * 2, {"strength": [1.0, 2.0, 3.0]})


def test_training_without_a_balancer_or_curves_is_judged_by_the_error() -> None:
    x, y = judge_levels(symmetries("x", "y"), [{"error": 0.001, "null": 0.6}, {"error": 0.5, "null": 0.6}])
    assert (x.verdict, y.verdict, x.notes, y.notes) == ("exact", "broken", (), ())


@pytest.mark.parametrize("pressure", [0.0, 30.0])
def test_a_false_symmetry_that_is_forced_is_never_called_the_datas(pressure: float) -> None:
    """Turning breaks one half of the truth; pressed hard enough, a network learns the other half alone."""
    torch.manual_seed(0)
    symmetry, x = Symmetry.parse("C4 on vector(2) -> scalar", name="quarters"), Rng(0).normal(256, 2)
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer, turn = torch.optim.Adam(net.parameters(), 1e-2), torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    truth = x.square().sum(1, keepdim=True) + 2 * x[:, :1]
    for _ in range(500):
        optimizer.zero_grad()
        y = net(x)
        loss = (y - truth).square().mean() + pressure * (y - net(x @ turn.T)).square().mean()
        loss.backward()
        optimizer.step()
    metric = ApproximateSymmetryLevel(symmetry, None)
    metric.update(net, x)
    curves = {"step": [0.0, 1.0], "quarters/strength": [pressure, pressure]}
    level = judge_levels([symmetry], [metric.compute()], {"strength": [pressure]}, curves)[0]
    if pressure:
        # by the network alone it looks fine
        assert level.verdict in ("exact", "approximate") and level.level < 0.15
        assert says(level, "made to have, not what the data have")
    else:
        assert level.verdict == "broken"
