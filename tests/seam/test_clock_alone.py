"""The clock by itself: when it steps, what it drops, what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from lightning_symmetry.callbacks.clock import Clock


@pytest.fixture
def clocked() -> Iterator[tuple[Clock, nn.Parameter, torch.optim.Optimizer]]:
    own = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(1))], lr=0.1, fused=True)
    clock = Clock(0.1)
    clock.start([optimizer], None)
    clock.adopt([own])
    yield clock, own, optimizer
    clock.stop()


def take_batch(clock: Clock, own: nn.Parameter, *acts: Callable[[], Any], gradient: float = 1.0) -> bool:
    clock.begin_step()
    (own * gradient).sum().backward()
    for act in acts:
        act()
    return clock.end_batch()


def test_it_waits_while_the_host_accumulates(clocked: Any) -> None:
    clock, own, optimizer = clocked
    assert not take_batch(clock, own) and own.grad is not None
    assert take_batch(clock, own, clock.note_attempt, optimizer.step) and own.grad is None


def test_it_drops_what_a_skipped_step_would_have_used(clocked: Any) -> None:
    clock, own, _ = clocked
    assert not take_batch(clock, own, clock.note_attempt)
    assert own.grad is None and torch.equal(own.detach(), torch.ones(2))


def test_fused_optimizers_that_overflowed_did_not_step(clocked: Any) -> None:
    clock, own, optimizer = clocked
    optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
    optimizer.found_inf = torch.tensor(1.0)
    assert not take_batch(clock, own, clock.note_attempt, optimizer.step)
    assert own.grad is None
    optimizer.found_inf = torch.tensor(0.0)
    assert take_batch(clock, own, clock.note_attempt, optimizer.step)


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_gradients_that_are_not_finite_are_dropped(clocked: Any, bad: float) -> None:
    clock, own, optimizer = clocked
    assert not take_batch(clock, own, optimizer.step, gradient=bad)
    assert own.grad is None and torch.equal(own.detach(), torch.ones(2))


def test_steps_between_batches_are_not_the_next_batchs(clocked: Any) -> None:
    """A learning-rate search in the middle of training steps the host's optimizer behind our back."""
    clock, own, optimizer = clocked
    optimizer.step()
    assert not take_batch(clock, own)


def test_state_is_restored_before_and_after_parameters_exist(clocked: Any) -> None:
    clock, own, optimizer = clocked
    take_batch(clock, own, optimizer.step)
    state = clock.state_dict()
    for early in (True, False):
        other = Clock(0.1)
        if early:
            other.load_state_dict(state)
            assert other.state_dict() == state
        other.adopt([nn.Parameter(torch.ones(2))])
        if not early:
            other.load_state_dict(state)
        assert str(other.state_dict()) == str(state)


def test_stopping_twice_and_without_start_is_harmless() -> None:
    clock = Clock(0.1)
    clock.stop()
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    clock.start([optimizer], None)
    clock.stop()
    clock.stop()
    assert not optimizer._optimizer_step_post_hooks
