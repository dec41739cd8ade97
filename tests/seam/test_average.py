"""In evaluation the network answers with the mean over a law, and nothing of it stays behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO
from lightning_symmetry.losses import WidthReward
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import Host, fit, make_loader, make_net, make_noisy_net, make_trainer, own_weights, same, weights


class Watched(Host):
    """Keeps what the network answers in evaluation."""

    def __init__(self, net: nn.Module | None = None, through_self: bool = False) -> None:
        super().__init__(net)
        self.through_self = through_self
        self.answers: list[Tensor] = []

    def answer(self, x: Tensor) -> Tensor:
        y = self(x) if self.through_self else self.net(x)
        self.answers.append(y.detach().clone())
        return y

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.answer(batch[0])

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.answer(batch[0])

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return self.answer(batch[0])


def quarter_turns(average: int = 4, **settings: Any) -> LearnableAugmentation:
    settings.setdefault("module", "net")
    return LearnableAugmentation("C4 on vector -> vector", losses=[], average=average, **settings)


def learnt(average: int = 3, seed: int = 0) -> LearnableAugmentation:
    law = Symmetry(Uniform(SO(), 0.5, learnable=True), "vector", "vector", name="law")
    return LearnableAugmentation(
        law, losses=[WidthReward()], balance=0.5, probability=1.0, average=average, seed=seed, lr=0.1
    )


def loader(batches: int = 3) -> DataLoader:
    return make_loader(batches, seed=5)


def orbit_mean(net: nn.Module, x: Tensor) -> Tensor:
    """By a plain loop."""
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    total = torch.zeros_like(x)
    for k in range(4):
        g = torch.linalg.matrix_power(turn, k)
        total += net(x @ g.mT) @ g
    return total / 4


STAGES = {
    "validate": lambda trainer, host, data: trainer.validate(host, data, verbose=False),
    "test": lambda trainer, host, data: trainer.test(host, data, verbose=False),
    "predict": lambda trainer, host, data: trainer.predict(host, data),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("inference_mode", [True, False])
def test_a_finite_group_is_averaged_exactly(stage: str, inference_mode: bool) -> None:
    host = Watched()
    STAGES[stage](make_trainer(quarter_turns(), inference_mode=inference_mode), host, loader())
    for answer, (x, _) in zip(host.answers, loader(), strict=True):
        torch.testing.assert_close(answer, orbit_mean(make_net(), x))


def test_more_draws_than_elements_are_the_whole_orbit() -> None:
    few, many = Watched(), Watched()
    for host, n in ((few, 4), (many, 100)):
        make_trainer(quarter_turns(n)).test(host, loader(), verbose=False)
    assert all(torch.equal(a, b) for a, b in zip(few.answers, many.answers, strict=True))


@pytest.mark.parametrize("stage", STAGES)
def test_without_it_evaluation_is_bit_for_bit_the_same(stage: str) -> None:
    plain, ours = Watched(make_noisy_net()), Watched(make_noisy_net())
    for host, callbacks in ((plain, []), (ours, [quarter_turns(0)])):
        torch.manual_seed(3)
        STAGES[stage](make_trainer(*callbacks), host, loader())
    assert all(torch.equal(a, b) for a, b in zip(plain.answers, ours.answers, strict=True))


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_stays_behind(stage: str) -> None:
    host = Watched(make_noisy_net())
    before, names = weights(host), {name: set(vars(module)) for name, module in host.named_modules()}
    torch.manual_seed(3)
    STAGES[stage](make_trainer(), host, loader())
    plain = {name: set(vars(module)) for name, module in host.named_modules()}
    random_state = torch.get_rng_state()
    torch.manual_seed(3)
    STAGES[stage](make_trainer(quarter_turns()), host, loader())
    assert {name: set(vars(module)) for name, module in host.named_modules()} == plain
    assert all("forward" not in held for held in names.values()) and "forward" not in vars(host.net)
    assert same(before, weights(host)) and torch.equal(random_state, torch.get_rng_state())


def test_nothing_stays_behind_after_an_error() -> None:
    class Broken(Watched):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.answer(batch[0])
            raise RuntimeError("broken")

    host = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        make_trainer(quarter_turns()).test(host, loader(), verbose=False)
    assert "forward" not in vars(host.net)


def test_the_whole_module_may_be_the_network() -> None:
    host = Watched(through_self=True)
    make_trainer(quarter_turns(module=".")).test(host, loader(), verbose=False)
    for answer, (x, _) in zip(host.answers, loader(), strict=True):
        torch.testing.assert_close(answer, orbit_mean(make_net(), x))


def test_a_learnt_law_is_averaged_while_it_is_trained_and_after() -> None:
    host, callback = Watched(), learnt()
    trainer = fit(host, callback, val=loader(), max_epochs=2)
    in_training = host.answers[-3:]
    host.answers = []
    trainer.validate(host, loader(), verbose=False)
    for trained, again, (x, _) in zip(in_training, host.answers, loader(), strict=True):
        assert torch.equal(trained, again)
        assert not torch.allclose(again, host.net(x), atol=1e-6)


def test_a_checkpoint_is_enough() -> None:
    host, callback = Watched(), learnt()
    trainer = fit(host, callback)
    trainer.save_checkpoint("law.ckpt")
    trainer.test(host, loader(), verbose=False)
    fresh, other = Watched(make_net(seed=9)), learnt()
    make_trainer(other).test(fresh, loader(), verbose=False, ckpt_path="law.ckpt")
    assert same(own_weights(callback), own_weights(other)) and other.network_name == "net"
    assert all(torch.equal(a, b) for a, b in zip(host.answers, fresh.answers, strict=True))


def test_what_was_restored_for_a_test_can_go_on_training() -> None:
    host, callback = Watched(), learnt()
    fit(host, callback).save_checkpoint("law.ckpt")
    other = learnt()
    make_trainer(other).test(Watched(), loader(), verbose=False, ckpt_path="law.ckpt")
    resumed = Watched()
    fit(resumed, other, max_epochs=2, ckpt="law.ckpt")
    whole, through = Watched(), learnt()
    fit(whole, through, max_epochs=2)
    assert same(weights(whole), weights(resumed)) and same(own_weights(through), own_weights(other))


def test_draws_depend_on_batch_loader_and_seed_alone() -> None:
    data = [loader(2), loader(2)]

    def answers(seed: int) -> list[Tensor]:
        host = Watched()
        callback = LearnableAugmentation("SO(2) on vector -> vector", module="net", losses=[], average=2, seed=seed)
        torch.manual_seed(torch.seed() % 1000)
        make_trainer(callback).test(host, data, verbose=False)
        return host.answers

    first, again, other = answers(0), answers(0), answers(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    # the same rows in the other dataloader are drawn for anew
    assert not torch.equal(first[0], first[2])


def test_weights_and_global_rows_are_those_of_the_law() -> None:
    host = Watched()
    callback = LearnableAugmentation("SO(2) on vector -> vector", module="net", losses=[], average=3)
    make_trainer(callback).test(host, loader(1), verbose=False)
    ((x, _),) = loader(1)
    g, w = Symmetry.parse("SO(2) on vector -> vector").bind(x, x).sample(x, 3, Rng(0, -1))
    expected = torch.zeros_like(x)
    for j in range(3):
        turn = g[j::3].linear
        moved = host.net((turn @ x.unsqueeze(-1)).squeeze(-1))
        expected += w[:, j : j + 1] * (turn.mT @ moved.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(host.answers[0], expected)


def test_two_symmetries_are_averaged_one_inside_the_other() -> None:
    host = Watched()
    both = LearnableAugmentation(
        ["C4 on vector -> vector", "C2 on vector -> vector"], module="net", losses=[], average=4
    )
    make_trainer(both).test(host, loader(1), verbose=False)
    ((x, _),) = loader(1)
    torch.testing.assert_close(host.answers[0], orbit_mean(make_net(), x))


def test_what_cannot_be_averaged_yet_is_refused() -> None:
    nameless = LearnableAugmentation("C4 on vector -> vector", losses=[], average=4)
    with pytest.raises(InvalidSetting, match="no training step has shown.*module="):
        make_trainer(nameless).test(Watched(), loader(), verbose=False)
    law = Symmetry(Uniform(SO(), 0.5, learnable=True), "vector", "vector")
    untrained = LearnableAugmentation(law, module="net", losses=[], average=4)
    with pytest.raises(InvalidSetting, match="nothing was learnt yet.*ckpt_path"):
        make_trainer(untrained).test(Watched(), loader(), verbose=False)
    with pytest.raises(InvalidSetting, match="average=-1"):
        LearnableAugmentation("C4 on vector -> vector", average=-1)


def test_the_verdict_looks_at_the_network_itself() -> None:
    """An averaged network would look more symmetric than the one that was trained."""

    def judge(average: int) -> Any:
        callback = LearnableAugmentation("SO(2) on vector -> vector", losses=[], probability=0.5, average=average)
        fit(Watched(), callback, val=loader())
        return callback.discoveries[0].generators[0].violation

    assert judge(0) == judge(4)
