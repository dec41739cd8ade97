"""Strengths that tune themselves are equal on all ranks, and those of one process on the same global batch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.seam.boring import close, same
from tests.seam.processes import run_on_two_ranks
from tests.seam.regularizer_worker import RESUMED, SCENARIOS, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_on_two_ranks("regularizer_worker.py", tmp_path_factory.mktemp("ddp"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_agree_to_the_last_bit(ranks: list[dict[str, Any]], scenario: str) -> None:
    left, right = (rank["results"][scenario] for rank in ranks)
    assert left.keys() == right.keys()
    for part in left.keys() - {"metrics"}:
        # what is logged of a loss is that of the own rows; strengths and levels are everybody's
        wanted = [k for k in left[part] if "curves" not in part or "strength" in k]
        assert wanted and same({k: left[part][k] for k in wanted}, {k: right[part][k] for k in wanted}), part
    assert left["metrics"].keys() == right["metrics"].keys()


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "noisy"])
def test_two_processes_are_one(ranks: list[dict[str, Any]], scenario: str) -> None:
    one, two = run(scenario, 0, 1), ranks[0]["results"][scenario]
    # of a level the part that compares samples of one batch with each other is the rank's own
    for part in ("host", "learnt", "levels"):
        assert close(one.get(part, {}), two.get(part, {}), 1e-6), part
    for part in ("host resumed", "learnt resumed"):
        # twice as many steps make rounding twice as visible
        assert close(one.get(part, {}), two.get(part, {}), 1e-5), part
    strengths = [{k: v for k, v in run.get("curves", {}).items() if "strength" in k} for run in (one, two)]
    assert close(*strengths, 1e-6)


def test_the_report_is_written_once(ranks: list[dict[str, Any]]) -> None:
    first, second = ranks
    # a mixin writes none
    assert len(first["written"]) == len(SCENARIOS) + len(RESUMED) - 2 and not second["written"]
