"""Two bodies obey the laws of mechanics, and turning where they start turns where they end."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_symmetry.data import TwoBody
from lightning_symmetry.exceptions import InvalidSetting


def states(**kwargs: object) -> tuple[TwoBody, Tensor, Tensor]:
    data = TwoBody(**kwargs)
    data.setup("fit")
    x, y = data.parts["test"].x.double(), data.parts["test"].y
    torch.testing.assert_close(data.target(x).float(), y, atol=1e-3, rtol=0)  # float32 against float64
    return data, x, data.target(x)


def energy(state: Tensor) -> Tensor:
    q1, q2, p1, p2 = state.split(2, dim=1)
    return p1.square().sum(1) / 2 + p2.square().sum(1) / 2 - 1 / (q1 - q2).norm(dim=1)


def angular_momentum(state: Tensor) -> Tensor:
    q1, q2, p1, p2 = state.split(2, dim=1)
    return sum(q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0] for q, p in ((q1, p1), (q2, p2)))


def momentum(state: Tensor) -> Tensor:
    return state[:, 4:6] + state[:, 6:8]


def test_momentum_and_angular_momentum_are_kept_exactly() -> None:
    _, before, after = states()
    torch.testing.assert_close(momentum(after), momentum(before), atol=1e-12, rtol=0)
    torch.testing.assert_close(angular_momentum(after), angular_momentum(before), atol=1e-12, rtol=0)


def test_energy_is_kept_to_second_order_in_the_step() -> None:
    errors = []
    for refinement in (1, 2, 4):
        _, before, after = states(steps=25 * refinement, step_size=0.02 / refinement)
        errors.append(float((energy(after) - energy(before)).abs().median() / energy(before).abs().median()))
    assert errors[0] < 1e-2
    assert [math.log2(errors[i] / errors[i + 1]) for i in range(2)] == pytest.approx([2, 2], abs=0.2)


def test_the_centre_moves_uniformly() -> None:
    _, before, after = states()
    centre = lambda state: state[:, :2] + state[:, 2:4]  # noqa: E731
    torch.testing.assert_close(centre(after), centre(before) + 0.5 * momentum(before), atol=1e-12, rtol=0)


def test_the_motion_can_be_reversed() -> None:
    data, before, after = states()
    back = before.new_tensor([1.0] * 4 + [-1.0] * 4)
    torch.testing.assert_close(data.target(after * back) * back, before, atol=1e-6, rtol=0)


def test_the_truth_is_the_only_block_diagonal_generator() -> None:
    data, x, y = states()
    # D target(x) L x = L target(x) is linear in the 16 entries of L's blocks
    columns = []
    for k in range(16):
        block, entry = divmod(k, 4)
        generator = torch.zeros(8, 8, dtype=torch.float64)
        generator[2 * block + entry // 2, 2 * block + entry % 2] = 1
        _, slope = torch.func.jvp(data.target, (x,), (x @ generator.mT,))
        columns.append((slope - y @ generator.mT).flatten())
    _, sizes, rows = torch.linalg.svd(torch.stack(columns, 1), full_matrices=False)
    assert sizes[-1] < 1e-9 * sizes[0] and sizes[-2] > 1e-3 * sizes[0]
    turn = torch.tensor([0.0, -1.0, 1.0, 0.0] * 4, dtype=torch.float64)
    assert float(torch.cosine_similarity(rows[-1], turn, dim=0).abs()) == pytest.approx(1)
    (basis,) = data.truth().group.basis()
    assert torch.equal(torch.stack([basis[i : i + 2, i : i + 2] for i in (0, 2, 4, 6)]).flatten(), turn.float())


def test_without_drift_half_of_the_state_is_redundant() -> None:
    _, x, y = states(drift=0.0)
    assert int(torch.linalg.matrix_rank(x, rtol=1e-6)) == 4
    for state in (x, y):
        torch.testing.assert_close(state[:, :2], -state[:, 2:4], atol=1e-6, rtol=0)
        torch.testing.assert_close(state[:, 4:6], -state[:, 6:8], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kwargs", [{"samples": 0}, {"drift": -1.0}, {"noise": -0.1}, {"steps": 0}, {"step_size": 0.0}])
def test_senseless_settings_are_refused(kwargs: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(kwargs))):
        TwoBody(**kwargs)
