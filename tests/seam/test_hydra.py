"""hydra builds the callbacks from its own containers, which are neither dicts nor lists."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_symmetry.callbacks import Expect, LearnableAugmentation
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import Host as PlainHost
from tests.seam.boring import fit, own_weights, same, weights

hydra_utils = pytest.importorskip("hydra.utils")
omegaconf = pytest.importorskip("omegaconf")

TARGET = "lightning_symmetry.LearnableAugmentation"
MAPPING = {"over": "SO(2)", "input": {"input": "vector"}, "output": "vector"}


def build(**settings: Any) -> Any:
    return hydra_utils.instantiate(omegaconf.OmegaConf.create({"_target_": TARGET, **settings}))


@pytest.mark.parametrize(
    ("symmetries", "sentences"),
    [
        ("vector -> vector", ["learned on vector -> vector"]),
        (["vector -> vector", "SO(2) on vector -> vector"], None),
        (MAPPING, ["SO(2) on input=vector -> vector"]),
        ([MAPPING, "vector -> vector"], None),
    ],
    ids=["sentence", "list", "mapping", "mapping in a list"],
)
def test_symmetries_come_in_every_form(symmetries: Any, sentences: list[str] | None) -> None:
    callback = build(symmetries=symmetries)
    assert isinstance(callback, LearnableAugmentation)
    assert sentences is None or [s.sentence for s in callback.symmetries] == sentences
    direct = LearnableAugmentation(symmetries)
    assert [s.sentence for s in callback.symmetries] == [s.sentence for s in direct.symmetries]
    assert callback.name == direct.name


def test_a_run_is_that_of_the_same_callback_built_by_hand() -> None:
    losses = [
        {"_target_": "lightning_symmetry.losses.Equivariance"},
        {"_target_": "lightning_symmetry.losses.NormReward"},
    ]
    by_hydra = build(symmetries=["vector -> vector"], losses=losses, balance=[1.0, 0.05])
    by_hand = LearnableAugmentation(["vector -> vector"], losses=list(by_hydra.losses), balance=[1.0, 0.05])
    hosts = [PlainHost(), PlainHost()]
    for host, callback in zip(hosts, (by_hydra, by_hand), strict=True):
        fit(host, callback)
    assert same(weights(hosts[0]), weights(hosts[1])) and same(own_weights(by_hydra), own_weights(by_hand))


def test_objects_nest() -> None:
    ramp = {"_target_": "lightning_symmetry.balancing.Ramp", "strengths": [1.0, 0.2, 0.1], "start": 3}
    callback = build(symmetries="image -> label", balance=ramp)
    assert callback.balance.strengths(3, 2) == [0.0] * 3 and callback.balance.strengths(3, 3) == [1.0, 0.2, 0.1]


def test_other_parts_are_built_too() -> None:
    claim = hydra_utils.instantiate({"_target_": "lightning_symmetry.Expect", "metric": "val/loss", "at_most": 1})
    assert isinstance(claim, Expect) and claim.bound == "<= 1"
    symmetry = hydra_utils.instantiate({"_target_": "lightning_symmetry.Symmetry", **MAPPING})
    assert isinstance(symmetry, Symmetry)
