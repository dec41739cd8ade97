"""Two processes measure what one measures on the same samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_symmetry.metrics import LieDerivativeError
from tests.seam.metrics_worker import METRICS, SENTENCE, level, measure, seeds, watch
from tests.seam.processes import run_on_two_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_on_two_ranks("metrics_worker.py", tmp_path_factory.mktemp("metrics"))


@pytest.mark.parametrize("name", METRICS)
def test_two_processes_measure_what_one_does(ranks: list[dict[str, Any]], name: str) -> None:
    one = measure(METRICS[name](), 0, 1)
    for rank in ranks:
        two = rank["results"][name]
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-9, atol=1e-12, msg=f"{name}: {key}")


def test_seeds_are_spread_over_processes(ranks: list[dict[str, Any]]) -> None:
    one = seeds(0, 1)
    for rank in ranks:
        for key, value in one.items():
            torch.testing.assert_close(rank["results"]["seeds"][key], value, rtol=1e-9, atol=1e-12)


def test_partners_are_of_the_same_process_and_all_else_is_the_same(ranks: list[dict[str, Any]]) -> None:
    one, (left, right) = level(0, 1), (rank["results"]["level"] for rank in ranks)
    assert left == right
    for key in ("error", "error_se"):
        torch.testing.assert_close(left[key], one[key], rtol=1e-9, atol=1e-12)
    assert abs(float(left["null"] - one["null"])) < 4 * float(one["null_se"])


def test_a_process_without_samples_learns_the_result(ranks: list[dict[str, Any]]) -> None:
    alone = measure(LieDerivativeError(SENTENCE), 0, 1)
    for rank in ranks:
        for key, value in alone.items():
            torch.testing.assert_close(rank["uneven"][key], value, rtol=1e-9, atol=1e-12)


def test_callbacks_log_the_same_on_all_ranks_and_what_one_logs(ranks: list[dict[str, Any]]) -> None:
    torch.manual_seed(0)
    one = watch(0, 1)
    left, right = (rank["watched"] for rank in ranks)
    assert left == right and left.keys() == one.keys() and any("share" in key for key in one)
    for key, value in one.items():
        assert left[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key
