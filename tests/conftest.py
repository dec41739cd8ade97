from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def forget_the_seed_of_other_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with ``seed_everything`` leaves its seed in the environment, where samplers of later runs would read it."""
    # set first, so that what a test leaves there is taken away too
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.delenv("PL_GLOBAL_SEED")
