"""The contract of callbacks."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import tempfile
from abc import abstractmethod
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_symmetry.testing.base import Contract, require


class _Host(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class CallbackContract(Contract):
    """The laws of a callback: it leaves no trace in the host, and switched off it changes nothing.

    Example:
        >>> from lightning_symmetry.callbacks import LearnableAugmentation
        >>> class TestAugmentation(CallbackContract):
        ...     subject = LearnableAugmentation
        ...     def make(self):
        ...         return LearnableAugmentation("vector -> vector")
        ...     def make_off(self):
        ...         return LearnableAugmentation("vector -> vector", balance=0.0)
        >>> TestAugmentation().test_state_is_plain()
    """

    @abstractmethod
    def make(self) -> Callback:
        """Make a callback that works on maps from vectors of the plane to vectors of the plane."""

    @abstractmethod
    def make_off(self) -> Callback:
        """Make one whose every effect is switched off."""

    def fit(self, callbacks: list[Callback], folder: str, **settings: Any) -> tuple[_Host, Trainer]:
        """Train a small network for six batches."""
        before = torch.get_rng_state()
        torch.manual_seed(0)
        host = _Host()
        torch.set_rng_state(before)
        x = self.rng().normal(24, 2)
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", callbacks=callbacks, default_root_dir=folder, **{**quiet, **settings}
        )
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.fit(host, DataLoader(TensorDataset(x, x.flip(1)), batch_size=8))
        return host, trainer

    def test_no_trace(self) -> None:
        """Same keys, same optimizers, same attributes; the module pickles, and its checkpoint loads without us."""
        with tempfile.TemporaryDirectory() as folder:
            plain, plain_trainer = self.fit([], folder)
            host, trainer = self.fit([self.make()], folder)
            require(list(host.state_dict()) == list(plain.state_dict()), "the same state_dict keys")
            require(vars(host).keys() == vars(plain).keys(), "the same attributes")
            groups = [[len(g["params"]) for g in t.optimizers[0].param_groups] for t in (trainer, plain_trainer)]
            require(groups[0] == groups[1], "the same param groups")
            pickle.dumps(host)
            copy.deepcopy(host)
            trainer.save_checkpoint(f"{folder}/host.ckpt")
            saved = torch.load(f"{folder}/host.ckpt", weights_only=True)
            _Host().load_state_dict(saved["state_dict"], strict=True)

    def test_off_is_nothing(self) -> None:
        """Switched off, weights are bit-identical to a run without it."""
        with tempfile.TemporaryDirectory() as folder:
            plain, _ = self.fit([], folder)
            host, _ = self.fit([self.make_off()], folder)
            for name, weight in host.state_dict().items():
                require(torch.equal(weight, plain.state_dict()[name]), f"{name} is bit-identical")

    def test_state_is_plain(self) -> None:
        """The state holds tensors and plain values only, and a fresh callback takes it over."""
        with tempfile.TemporaryDirectory() as folder:
            callback = self.make()
            self.fit([callback], folder)
            torch.save(callback.state_dict(), f"{folder}/state.pt")
            state = torch.load(f"{folder}/state.pt", weights_only=True)
            fresh = self.make()
            fresh.load_state_dict(copy.deepcopy(state))
            _require_equal(fresh.state_dict(), state)


def _require_equal(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        require(left.keys() == right.keys(), "the same keys")
        for key in left:
            _require_equal(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        require(len(left) == len(right), "the same length")
        for a, b in zip(left, right, strict=True):
            _require_equal(a, b)
    elif isinstance(left, Tensor):
        # what was not measured yet is NaN
        equal = left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=0, equal_nan=True)
        require(equal, "the same tensors")
    else:
        require(left == right or left != left, "the same values")
