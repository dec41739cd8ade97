"""Two processes have the multipliers of one on the same global batch, and agree to the last bit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.seam.boring import close, same
from tests.seam.dual_worker import SCENARIOS, run
from tests.seam.processes import run_on_two_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_on_two_ranks("dual_worker.py", tmp_path_factory.mktemp("dual"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_agree_to_the_last_bit(ranks: list[dict[str, Any]], scenario: str) -> None:
    left, right = (rank[scenario] for rank in ranks)
    assert same(left["host"], right["host"]) and same(left["own"], right["own"])
    assert left["metrics"].keys() == right["metrics"].keys() and left["metrics"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_are_one(ranks: list[dict[str, Any]], scenario: str) -> None:
    one, two = run(scenario, 0, 1), ranks[0][scenario]
    assert one["own"]["dual"].any()
    assert close(one["host"], two["host"], 1e-6) and close(one["own"], two["own"], 1e-5)
