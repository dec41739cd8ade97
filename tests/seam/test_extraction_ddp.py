"""Two processes read what one reads from the same inputs, also where one of them is given none."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_symmetry.callbacks import extraction
from tests.seam.boring import close
from tests.seam.extraction_worker import SCENARIOS, run
from tests.seam.processes import run_on_two_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_on_two_ranks("extraction_worker.py", tmp_path_factory.mktemp("extraction"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_agree_and_are_as_one(
    ranks: list[dict[str, Any]], scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "print_discovery", lambda found, folder: None)
    one, (left, right) = run(scenario, 0, 1), (rank["results"][scenario] for rank in ranks)
    assert left["defects"] == right["defects"] and left["declared"] == right["declared"]
    assert left["metrics"].keys() == right["metrics"].keys() == one["metrics"].keys()
    assert left["samples"] == right["samples"] == one["samples"] == 40
    assert all(abs(a - b) < 1e-5 for a, b in zip(left["defects"], one["defects"], strict=True))
    assert close(left["host"], one["host"], 1e-6) and close(left["host"], right["host"], 0)


def test_the_report_is_written_by_the_first_process(ranks: list[dict[str, Any]]) -> None:
    assert len(ranks[0]["written"]) == len(SCENARIOS) and not ranks[1]["written"]
