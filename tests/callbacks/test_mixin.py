"""A module that states its symmetries: its own penalty is the one written by hand, and callbacks ask it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry.balancing import Constraint, Fixed, Ramp
from lightning_symmetry.callbacks import LearnableAugmentation, SymmetryMixin, augmentation
from lightning_symmetry.exceptions import InvalidSetting, NoGradient, UnsupportedTrainer
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Equivariance, Loss, NormReward
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    SENTENCE,
    Host,
    close,
    deal,
    fit,
    make_callback,
    make_data,
    make_loader,
    make_net,
    make_noisy_net,
    own_weights,
    same,
    weights,
)
from tests.seam.mixin_hosts import KNOWN, LEARNT, Stating, train_by_hand


@pytest.fixture(autouse=True)
def stay_in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(augmentation, "write_report", lambda found, folder, x: None)
    monkeypatch.setattr(augmentation, "print_discovery", lambda found, folder: None)
    torch.manual_seed(0)


def net_weights(host: Host) -> dict[str, Tensor]:
    return weights(host.net)


def generators(host: Stating) -> Tensor:
    return host.symmetry_parts.symmetries[0].group.basis().detach().clone()


# -------------------------------------------------------------------------------------------- the penalty


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
@pytest.mark.parametrize("sentence", [KNOWN, LEARNT], ids=["known", "learnt"])
def test_the_penalty_is_the_one_written_by_hand(sentence: str, manual: bool) -> None:
    host, net = Stating(sentence, manual=manual), make_net()
    symmetry = train_by_hand(net, sentence)
    fit(host, data=deal(make_data()))
    assert close(net_weights(host), weights(net))
    assert torch.allclose(generators(host), symmetry.group.basis(), atol=1e-6)


@pytest.mark.parametrize("sentence", [KNOWN, LEARNT], ids=["known", "learnt"])
def test_strength_zero_is_bit_identical_to_no_penalty(sentence: str) -> None:
    plain, ours = Host(make_noisy_net()), Stating(sentence, strength=0.0, net=make_noisy_net())
    before = generators(ours)
    for host in (plain, ours):
        torch.manual_seed(0)
        fit(host)
    assert same(net_weights(plain), net_weights(ours)) and plain.losses == ours.losses
    assert torch.equal(before, generators(ours))


def test_strength_zero_neither_draws_nor_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("called")

    host = Stating(LEARNT, strength=0.0)
    monkeypatch.setattr(Rng, "_draw", refuse)
    loss = host.symmetry_loss(refuse, torch.ones(3, 2))
    loss.backward()
    assert loss == 0 and all(not p.grad.any() for p in host.symmetry_parts.parameters())


def test_nothing_is_left_in_the_network() -> None:
    host = Stating(net=make_noisy_net())
    x, y = torch.randn(2, 8, 2)
    before, state = weights(host), torch.get_rng_state()
    for given in (None, y):
        host.symmetry_loss(host.net, x, given).backward()
    assert same(before, weights(host)) and torch.equal(state, torch.get_rng_state())
    host.symmetry_loss(lambda x: host.net(x), x)
    assert same(before, weights(host)) and torch.equal(state, torch.get_rng_state())
    assert "forward" not in vars(host.net)


def test_an_output_that_is_not_given_is_computed() -> None:
    host, x = Stating(), torch.randn(8, 2)
    given, computed = host.symmetry_loss(host.net, x, host.net(x)), Stating().symmetry_loss(host.net, x)
    assert torch.equal(given, computed)


def test_maps_may_be_methods_on_structures() -> None:
    class Batched(Stating):
        def symmetry_losses(self) -> list[Loss]:
            return [Equivariance()]

        def predict(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"v": self.net(batch["v"]), "n": batch["n"]}

    structured, plain = Batched("SO(2) on batch.v=vector -> v=vector"), Batched()
    x = torch.randn(8, 2)
    loss = structured.symmetry_loss(structured.predict, {"v": x, "n": torch.ones(8)})
    assert torch.allclose(loss, plain.symmetry_loss(plain.net, x))
    assert torch.autograd.grad(loss, structured.net[0].weight)[0].any()


def test_an_equivariant_map_has_no_penalty() -> None:
    host, x = Stating(), torch.randn(8, 2)
    assert host.symmetry_loss(lambda x: x * x.norm(dim=1, keepdim=True), x) < 1e-10
    assert host.symmetry_loss(lambda x: x + 1, x) > 0.1


def test_draws_depend_on_seed_and_batch() -> None:
    host, x = Stating(), torch.randn(8, 2)
    first, second = host.symmetry_loss(host.net, x), host.symmetry_loss(host.net, x)
    assert first != second  # without a trainer every call is a batch
    assert Stating().symmetry_loss(host.net, x) == first
    other = Stating()
    other.symmetry_seed = 1
    assert other.symmetry_loss(host.net, x) != first


def test_losses_and_balance_fit_what_is_stated() -> None:
    class Plain(SymmetryMixin, nn.Linear):
        sentence = KNOWN

        def symmetries(self) -> Any:
            return self.sentence

    def of(sentence: Any) -> Any:
        net = Plain(2, 2)
        net.sentence = sentence
        return net.symmetry_parts

    assert [type(loss) for loss in of(KNOWN).objective.losses] == [Equivariance]
    assert isinstance(of(KNOWN).objective.balance, Fixed)
    assert NormReward in {type(loss) for loss in of([KNOWN, LEARNT]).objective.losses}
    assert isinstance(of([KNOWN, LEARNT]).objective.balance, Ramp)
    assert of({"over": "SO(2)", "input": "vector", "output": "vector"}).symmetries[0].sentence == KNOWN


# -------------------------------------------------------------------------------------------- whose the parts are


def test_parts_are_registered_and_learnt_by_the_modules_optimizer() -> None:
    host = Stating(LEARNT)
    for names in (host.state_dict(), dict(host.named_parameters())):
        assert sum(name.startswith("symmetry_parts.") for name in names) == 1
    before = generators(host)
    trainer = fit(host)
    held = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert {id(p) for p in host.symmetry_parts.parameters()} <= held
    assert not torch.equal(before, generators(host))


def test_a_known_symmetry_adds_no_state() -> None:
    host = Stating(KNOWN, touched=False)
    fit(host)
    assert list(host.state_dict()) == list(Host().state_dict())


def test_a_checkpoint_is_loaded_before_the_parts_were_touched() -> None:
    host = Stating(LEARNT)
    fit(host)
    fresh = Stating(LEARNT, touched=False)
    fresh.load_state_dict(host.state_dict())
    assert torch.equal(generators(fresh), generators(host))


@pytest.mark.parametrize("sentence", [KNOWN, LEARNT], ids=["known", "learnt"])
def test_a_resumed_run_is_the_uninterrupted_one(sentence: str) -> None:
    whole, half, resumed = Stating(sentence), Stating(sentence), Stating(sentence)
    fit(whole, max_epochs=2)
    fit(half).save_checkpoint("half.ckpt")
    fit(resumed, ckpt="half.ckpt", max_epochs=2)
    assert same(weights(whole), weights(resumed)) and whole.losses[4:] == resumed.losses


def test_modules_are_copied_and_pickled() -> None:
    host = Stating(LEARNT)
    fit(host)
    host.trainer = None
    for twin in (copy.deepcopy(host), pickle.loads(pickle.dumps(host))):
        assert same(weights(twin), weights(host))


@pytest.mark.parametrize("settings", [{"precision": "bf16-mixed"}, {"accumulate_grad_batches": 2}], ids=str)
def test_training_goes_on_in_other_ways(settings: dict[str, Any]) -> None:
    host = Stating(LEARNT)
    before = generators(host)
    fit(host, val=make_loader(2, seed=5), **settings)
    assert generators(host).isfinite().all() and not torch.equal(before, generators(host))


# -------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("sentence", ["vector -> vector", "learned(2) on vector -> vector"])
def test_a_group_whose_shape_is_open_is_refused(sentence: str) -> None:
    with pytest.raises(NoGradient, match=r"learned\(2, dim=2, affine=False\)"):
        Stating(sentence)


def test_an_action_whose_shape_is_open_is_refused() -> None:
    with pytest.raises(NoGradient, match="only the data tell"):
        fit(Stating("SO(2) on vector -> learned"))


def test_what_no_optimizer_holds_is_refused() -> None:
    with pytest.raises(NoGradient, match="no optimizer of the trainer holds"):
        fit(Stating(LEARNT, touched=False))


def test_parts_before_the_modules_own_init_are_refused() -> None:
    class Early(Stating):
        def __init__(self) -> None:
            self.sentence = KNOWN
            assert self.symmetry_parts

    with pytest.raises(InvalidSetting, match="before super"):
        Early()


def test_sharded_parameters_are_refused() -> None:
    class FSDPStrategy:
        pass

    class Trainer:
        training, strategy, optimizers = True, FSDPStrategy(), ()

    host = Stating()
    host.__class__ = type("Sharded", (Stating,), {"trainer": Trainer()})
    with pytest.raises(UnsupportedTrainer):
        host.symmetry_loss(host.net, torch.ones(2, 2))


def test_a_module_has_to_state_something() -> None:
    class Silent(SymmetryMixin, Host):
        pass

    with pytest.raises(TypeError, match="symmetries"):
        Silent()


# -------------------------------------------------------------------------------------------- callbacks ask the module


class Asked(SymmetryMixin, Host):
    """States symmetries and leaves the penalty to callbacks."""

    described: Any = SENTENCE

    def symmetries(self) -> Any:
        return self.described


@pytest.mark.parametrize("described", [SENTENCE, [SENTENCE, KNOWN]], ids=["one", "list"])
def test_a_callback_takes_what_the_module_states(described: Any) -> None:
    asked, told = Asked(), Host()
    asked.described = described
    silent, explicit = make_callback(None), make_callback(described)
    fit(asked, silent, val=make_loader(2, seed=5))
    fit(told, explicit, val=make_loader(2, seed=5))
    assert same(weights(asked), weights(told)) and same(own_weights(silent), own_weights(explicit))
    assert (silent.name, silent.state_key) == (explicit.name, explicit.state_key)
    assert "symmetry_parts" not in dict(asked.named_children())


def test_usual_strengths_follow_the_stated_symmetry() -> None:
    host, callback = Asked(), LearnableAugmentation()
    fit(host, callback, limit_train_batches=1)
    explicit = LearnableAugmentation(SENTENCE)
    assert callback.balance.strengths(3, 10**6) == explicit.balance.strengths(3, 10**6)


def test_a_method_of_that_name_is_enough() -> None:
    class Duck(Host):
        def symmetries(self) -> str:
            return SENTENCE

    callback = make_callback(None)
    fit(Duck(), callback)
    assert callback.name == Symmetry.parse(SENTENCE).name


@pytest.mark.parametrize("stated", [None, nn.ModuleList()], ids=["nothing", "something else"])
def test_without_any_symmetry_both_ways_are_told(stated: Any) -> None:
    host = Host()
    if stated is not None:
        host.symmetries = stated
    with pytest.raises(InvalidSetting, match=r"LearnableAugmentation\(\"image -> label\"\).*symmetries\(\)"):
        fit(host, LearnableAugmentation())


def test_what_is_trained_in_the_module_is_copied() -> None:
    class Owner(Stating):
        def symmetries(self) -> Any:
            self.owned = getattr(self, "owned", None) or Symmetry.parse(LEARNT)
            return self.owned

    host, callback = Owner(), make_callback(None)
    fit(host, callback)
    assert host.symmetry_parts.symmetries[0] is host.owned
    assert callback.symmetries[0] is not host.owned
    assert not torch.equal(callback.symmetries[0].group.basis(), host.owned.group.basis())


def test_state_is_resumed_by_a_callback_that_asks() -> None:
    whole, whole_callback = Asked(), make_callback(None)
    fit(whole, whole_callback, max_epochs=2)
    fit(Asked(), make_callback(None)).save_checkpoint("half.ckpt")
    resumed, callback = Asked(), make_callback(None)
    fit(resumed, callback, ckpt="half.ckpt", max_epochs=2)
    assert same(weights(whole), weights(resumed)) and same(own_weights(whole_callback), own_weights(callback))


def test_two_callbacks_that_ask_need_names() -> None:
    with pytest.raises(InvalidSetting, match="name="):
        fit(Asked(), make_callback(None), make_callback(SENTENCE))
    left, right = make_callback(None), make_callback(None, name="other")
    fit(Asked(), left, right)
    assert left.state_key != right.state_key and left.step == right.step == 4


def test_a_second_fit_keeps_what_the_first_found() -> None:
    callback = make_callback(None)
    fit(Asked(), callback)
    found = callback.symmetries[0]
    fit(Asked(), callback)
    assert callback.symmetries[0] is found and callback.step == 8


def test_the_module_may_use_both_at_once() -> None:
    """The own penalty's forwards are invisible to the callback's tap."""
    host, callback = Stating(), make_callback(SENTENCE)
    fit(host, callback)
    assert callback._calls == callback.step == 4


def test_a_balance_that_wants_the_tasks_loss_is_refused() -> None:
    class Steered(SymmetryMixin, nn.Linear):
        def symmetries(self) -> Any:
            return KNOWN

        def symmetry_balance(self) -> Any:
            return Constraint()

    with pytest.raises(InvalidSetting, match="never learns the task's loss"):
        _ = Steered(2, 2).symmetry_parts
