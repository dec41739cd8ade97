"""Two processes learn what one learns on the same global batch, and agree to the last bit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.seam.boring import close, same
from tests.seam.ddp_worker import SCENARIOS, run
from tests.seam.processes import run_on_two_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_on_two_ranks("ddp_worker.py", tmp_path_factory.mktemp("ddp"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_agree_to_the_last_bit(ranks: list[dict[str, Any]], scenario: str) -> None:
    left, right = (rank["results"][scenario] for rank in ranks)
    for part in ("host", "own", "host resumed", "own resumed"):
        assert same(left[part], right[part]), part


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_are_one(ranks: list[dict[str, Any]], scenario: str) -> None:
    one, two = run(scenario, 0, 1), ranks[0]["results"][scenario]
    for part in ("host", "own"):
        assert close(one[part], two[part], 1e-6), part
    for part in ("host resumed", "own resumed"):
        assert close(one[part], two[part], 1e-5), part


def test_the_report_is_written_once(ranks: list[dict[str, Any]]) -> None:
    first, second = ranks
    # each scenario trains twice, the second time from its checkpoint
    assert len(first["written"]) == 2 * len(SCENARIOS)
    assert not second["written"]


def test_metrics_have_the_same_names_on_all_ranks(ranks: list[dict[str, Any]]) -> None:
    for scenario in SCENARIOS:
        left, right = (rank["results"][scenario]["metrics"] for rank in ranks)
        assert left.keys() == right.keys() and left
