from __future__ import annotations

import sys

import pytest

from lightning_symmetry.actions import by_name
from lightning_symmetry.exceptions import InvalidSetting


def test_a_missing_escnn_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "escnn", None)
    with pytest.raises(InvalidSetting, match="pip install --no-deps escnn"):
        by_name("rep('SO(2)', [0, 1])")
