"""Contracts: the laws of every noun, as test classes to inherit.

Whoever adds a group, an element, an action, a sampler, a loss, a balancer, a metric or a callback subclasses its
contract in a test file, names the class under test by ``subject`` and makes one; pytest collects the laws.
"""

from __future__ import annotations

from lightning_symmetry.testing.actions import ActionContract
from lightning_symmetry.testing.balancers import BalancerContract
from lightning_symmetry.testing.base import Contract
from lightning_symmetry.testing.callbacks import CallbackContract
from lightning_symmetry.testing.elements import ElementContract
from lightning_symmetry.testing.groups import GroupContract
from lightning_symmetry.testing.losses import LossContract
from lightning_symmetry.testing.metrics import MetricContract
from lightning_symmetry.testing.samplers import SamplerContract

__all__ = [
    "ActionContract",
    "BalancerContract",
    "CallbackContract",
    "Contract",
    "ElementContract",
    "GroupContract",
    "LossContract",
    "MetricContract",
    "SamplerContract",
]
