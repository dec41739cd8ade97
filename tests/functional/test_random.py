from __future__ import annotations

import pytest
import torch

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng


@pytest.mark.parametrize("kind", ["uniform", "normal", "integers"])
@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_the_rows_of_one_process(kind: str, world: int) -> None:
    def draw(rng: Rng, rows: int) -> torch.Tensor:
        return rng.integers(7, rows, 3, 2) if kind == "integers" else getattr(rng, kind)(rows, 3, 2)

    alone = draw(Rng(1, 2), 4 * world)
    for rank in range(world):
        assert torch.equal(draw(Rng(1, 2, rank, world), 4), alone[rank::world])


@pytest.mark.parametrize("shape", [(), (1,), (3,), (17,)])
def test_a_longer_draw_begins_with_the_shorter(shape: tuple[int, ...]) -> None:
    for rows in (1, 5, 16, 33, 257):
        for kind in ("uniform", "normal"):
            assert torch.equal(getattr(Rng(0), kind)(600, *shape)[:rows], getattr(Rng(0), kind)(rows, *shape))


def test_calls_counters_and_seeds_differ() -> None:
    rng = Rng(0)
    draws = [rng.uniform(50), rng.uniform(50), Rng(0, 1).uniform(50), Rng(1).uniform(50), Rng(12, 3).uniform(50)]
    draws.append(Rng(1, 23).uniform(50))
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert not bool((a == b).any())


def test_moments() -> None:
    u, z = Rng(0).uniform(20000, dtype=torch.float64), Rng(0).normal(20000, dtype=torch.float64)
    assert abs(float(u.mean()) - 0.5) < 0.01 and abs(float(u.var()) - 1 / 12) < 0.002
    assert abs(float(z.mean())) < 0.03 and abs(float(z.var()) - 1) < 0.03 and abs(float(z.pow(4).mean()) - 3) < 0.2
    counts = Rng(0).integers(5, 20000).bincount()
    assert len(counts) == 5 and float((counts / 20000 - 0.2).abs().max()) < 0.015


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_uniform_stays_below_one(dtype: torch.dtype) -> None:
    u = Rng(0).uniform(20000, dtype=dtype)
    assert u.dtype == dtype and float(u.min()) >= 0 and float(u.max()) < 1


def test_type_does_not_change_the_numbers() -> None:
    torch.testing.assert_close(Rng(0).normal(9).double(), Rng(0).normal(9, dtype=torch.float64), atol=1e-6, rtol=1e-6)


def test_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    Rng(0).normal(3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InvalidSetting):
        Rng(0, rank=2, world=2)
    with pytest.raises(InvalidSetting):
        Rng(0).integers(0, 3)
