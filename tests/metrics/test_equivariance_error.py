"""The finite errors against plain loops, in every normalisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Call, Equivariance
from lightning_symmetry.metrics import EquivarianceError
from lightning_symmetry.metrics.equivariance import NORMALISATIONS
from lightning_symmetry.symmetry import Symmetry
from tests.metrics.test_lie_derivative_error import draw, make_map

SENTENCE = "SO(2) on vector(2) -> vector"


def measure(metric: EquivarianceError, f: Any, *batches: Any) -> dict[str, Tensor]:
    for batch in batches:
        metric.update(f, batch)
    return metric.compute()


def by_loop(f: Any, batches: list[Tensor], n: int) -> dict[str, float]:
    """Every normalisation, element by element, with the draws that the metric promises."""
    symmetry = Symmetry.parse(SENTENCE)
    moved, expected, gaps, answers = [], [], [], []
    for number, x in enumerate(batches):
        g, _ = symmetry.sample(x, n, Rng(0, number))
        for row in range(len(x)):
            answers.append(f(x[row : row + 1])[0])
            for j in range(n):
                matrix = g[row * n + j].matrix[0].double()
                moved.append(f((matrix @ x[row])[None])[0])
                expected.append(matrix @ answers[-1])
                gaps.append(matrix - torch.eye(2))
    a, b, step, y = (torch.stack(parts).detach() for parts in (moved, expected, gaps, answers))
    rms = lambda t: float(t.square().mean().sqrt())  # noqa: E731
    both = rms(a) + rms(b)
    return {
        "relative": rms(a - b) / both,
        "scale_adjusted": rms(a - b) / (both + float(step.abs().mean())),
        "scale_adjusted_max": rms(a - b) / max(both, rms(step)),
        "variance": rms(a - b) ** 2 / float((y - y.mean(0)).square().mean()),
        "rms": rms(a - b),
        "mean": float((a - b).abs().mean()),
        "max": float((a - b).abs().max()),
    }


@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_it_is_what_a_plain_loop_says(normalise: str) -> None:
    f, batches = make_map(2), [draw(9, 2), draw(5, 2, seed=1)]
    found = measure(EquivarianceError(SENTENCE, 3, normalise), f, *batches)
    assert float(found["error"]) == pytest.approx(by_loop(f, batches, 3)[normalise], rel=1e-6)
    assert ("error_se" in found) == (normalise != "max")


def test_the_variance_form_is_the_loss() -> None:
    f, x = make_map(2), draw(32, 2)
    symmetry = Symmetry.parse(SENTENCE)
    y = f(x)
    symmetry.bind(x, y)
    g, weights = symmetry.sample(x, 2, Rng(0, 0))
    loss = Equivariance(views=2)(Call(f, x, y, g, weights, symmetry, Rng(0), 0)).mean().detach()
    found = measure(EquivarianceError(SENTENCE, 2, "variance"), f, x)
    assert float(found["error"]) == pytest.approx(float(loss), rel=1e-6)


def test_all_elements_of_a_finite_group_do_not_depend_on_batches() -> None:
    f, x = make_map(2), draw(30, 2)
    results = [measure(EquivarianceError("D4 on vector(2) -> vector", None), f, *x.split(size)) for size in (30, 7)]
    assert all(torch.allclose(results[0][key], results[1][key], rtol=1e-10) for key in results[0])
    # the gap of an average over all elements is that of any eight
    drawn = measure(EquivarianceError("D4 on vector(2) -> vector", 400), f, x)
    assert float(drawn["error"]) == pytest.approx(float(results[0]["error"]), rel=0.05)


def test_symmetric_maps_have_none_whatever_moves() -> None:
    cases = [
        ("SE(3) on points -> points", lambda x: x + (x - x.mean(1, keepdim=True)), draw(8, 5, 3)),
        ("permutations(5) on nodes -> scalar", lambda x: x.sum(1), draw(8, 5, 2)),
        ("C4 on image -> mask", lambda x: x.square()[:, 0], draw(4, 1, 8, 8)),
    ]
    for sentence, f, x in cases:
        assert float(measure(EquivarianceError(sentence, 3), f, x)["error"]) < 1e-6


def test_small_steps_do_not_look_good_when_the_scale_is_adjusted() -> None:
    x = draw(16, 2)
    tiny = lambda x: 1e-6 * x.flip(1)  # noqa: E731
    plain, adjusted = (
        float(measure(EquivarianceError(SENTENCE, 4, kind), tiny, x)["error"])
        for kind in ("relative", "scale_adjusted")
    )
    assert plain > 0.3 and adjusted < 1e-5


def test_graphs_and_several_outputs() -> None:
    def f(x: dict[str, Tensor]) -> dict[str, Tensor]:
        p, owner = x["pos"], x["batch"]
        energy = torch.zeros(int(owner.max()) + 1, dtype=p.dtype).index_add(0, owner, p[:, 0].square())
        return {"energy": energy, "force": p * p.norm(dim=1, keepdim=True)}

    x = {"pos": draw(6, 3), "batch": torch.tensor([0, 0, 0, 1, 1, 2])}
    found = measure(EquivarianceError("SO(3) on pos=points -> energy=scalar, force=vector(3)"), f, x)
    assert float(found["error/force"]) < 1e-6 < float(found["error/energy"])
    assert float(found["error"]) == pytest.approx(float(found["error/energy"] + found["error/force"]) / 2)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="one of relative"):
        EquivarianceError(SENTENCE, normalise="none")
    with pytest.raises(InvalidSetting, match="at least one draw"):
        EquivarianceError(SENTENCE, 0)
    with pytest.raises(InvalidSetting, match="finite group"):
        EquivarianceError(SENTENCE, None).update(lambda x: x, draw(4, 2))
    with pytest.raises(InvalidSetting, match="folds=1"):
        EquivarianceError(SENTENCE, folds=1)
