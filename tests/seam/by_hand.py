"""A plain training loop with the penalty written out, and how a run is compared with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.seam.boring import (
    ByHand,
    Host,
    close,
    make_data,
    own_weights,
    weights,
)


def train_by_hand(
    hand: ByHand,
    optimizer: torch.optim.Optimizer | None,
    batches: int = 4,
    window: int = 1,
    clip: float | None = None,
    skipped: tuple[int, ...] = (),
) -> None:
    data = make_data(batches)
    for i, batch in enumerate(data):
        (hand.loss(batch) / window).backward()
        hand.step += 1
        if (i + 1) % window and i + 1 < batches:
            continue
        if clip is not None:
            nn.utils.clip_grad_norm_(hand.net.parameters(), clip)
        if i not in skipped:
            if optimizer is not None:
                optimizer.step()
            hand.own.step()
        hand.net.zero_grad()
        hand.own.zero_grad()


def assert_equal_to(hand: ByHand, host: Host, callback: Any, tolerance: float = 1e-6) -> None:
    assert close(weights(hand.net), weights(host.net), tolerance)
    assert close(hand.own_weights(), own_weights(callback), tolerance)
    assert own_steps(callback) == hand_steps(hand)


def own_steps(callback: Any) -> int:
    states = callback._clock.optimizer.state
    return int(next(iter(states.values()))["step"]) if states else 0


def hand_steps(hand: ByHand) -> int:
    return int(next(iter(hand.own.state.values()))["step"]) if hand.own.state else 0
