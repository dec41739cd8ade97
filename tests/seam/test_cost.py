"""The share of training time that the end of a run prints, on a clock that ticks when networks are called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ProgressBar
from torch import Tensor, nn

from lightning_symmetry.callbacks import stopwatch
from tests.seam.boring import Host, ManualHost, fit, gap_callback, make_callback, make_net


class Time:
    """Goes on only when it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Ticking(nn.Module):
    """Takes one unit of time a call."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self.inner, self.time = make_net(), [time]

    def forward(self, x: Tensor) -> Tensor:
        self.time[0].now += 1
        return self.inner(x)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(stopwatch, "time", made)
    return made


@pytest.mark.parametrize("kind", [Host, ManualHost])
@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, 1 / 2), ({"every_n_steps": 2}, 1 / 3), ({"strength": 0.0}, 0.0)],
    ids=["every batch", "every second", "off"],
)
def test_a_second_pass_costs_as_much_as_the_first(
    time: Time, kind: type[Host], settings: dict[str, Any], share: float
) -> None:
    callback = gap_callback(**settings)
    assert callback.cost is None
    fit(kind(Ticking(time)), callback)
    assert callback.cost == pytest.approx(share)


def test_moving_the_task_takes_no_pass_of_its_own(time: Time) -> None:
    callback = make_callback(losses=[], probability=1.0)
    fit(Host(Ticking(time)), callback)
    assert callback.cost == 0.0


def test_the_backward_is_shared_as_the_forward_is(time: Time) -> None:
    class Slow(Host):
        def backward(self, loss: Tensor) -> None:
            super().backward(loss)
            time.now += 2

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            time.now += 4  # loading, say

    callback = gap_callback()
    fit(Slow(Ticking(time)), callback)
    # of eight units a batch, one is the second pass and one its half of the backward
    assert callback.cost == pytest.approx(2 / 8)


class Bar(ProgressBar):
    """Collects what is printed through it."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: list[str] = []

    @property
    def is_enabled(self) -> bool:
        return True

    def disable(self) -> None:
        pass

    def print(self, *args: Any, **kwargs: Any) -> None:
        self.printed += map(str, args)


@pytest.mark.usefixtures("full_report")
def test_the_end_is_printed_through_the_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    callback, bar = gap_callback(), Bar()
    fit(Host(), callback, bar, enable_progress_bar=True)
    text = "".join(bar.printed)
    assert callback.discoveries[0].conclusion in text
    assert f"cost: {callback.cost:.0%} of training time" in text
    assert "of training time" not in capsys.readouterr().out


def test_a_run_that_ends_in_an_error_has_no_cost() -> None:
    callback, host = gap_callback(), Host()
    host.on_train_batch_end = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        fit(host, callback)
    assert callback.cost is None and torch.isfinite(callback.symmetries[0].group.weight).all()
