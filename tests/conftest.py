from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests share what they have made, and stay with one process; long trainings go wherever there is room."""
    for item in items:
        if not item.get_closest_marker("slow") or "seam" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(autouse=True)
def forget_the_seed_of_other_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with ``seed_everything`` leaves its seed in the environment, where samplers of later runs would read it."""
    # set first, so that what a test leaves there is taken away too
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.delenv("PL_GLOBAL_SEED")
