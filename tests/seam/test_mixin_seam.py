"""A module's own symmetry loss under DDP, and in both Lightnings."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.callbacks import SymmetryMixin
from tests.seam.boring import close, deal, make_data, make_net, same, weights
from tests.seam.mixin_hosts import LEARNT
from tests.seam.mixin_worker import SCENARIOS, run
from tests.seam.processes import run_on_two_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_on_two_ranks("mixin_worker.py", tmp_path_factory.mktemp("ddp"))


@pytest.mark.parametrize("part", ["host", "resumed"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_agree_to_the_last_bit(ranks: list[dict[str, Any]], scenario: str, part: str) -> None:
    left, right = (rank[scenario][part] for rank in ranks)
    assert same(left, right)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_are_one(ranks: list[dict[str, Any]], scenario: str) -> None:
    one, two = run(scenario, 0, 1), ranks[0][scenario]
    assert close(one["host"], two["host"], 1e-6)
    # Adam's first steps divide small gradients by their size, which twice as many steps make twice as visible
    assert close(one["resumed"], two["resumed"], 1e-5)


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
def test_both_lightnings_give_the_same_run(manual: bool) -> None:
    found = []
    for name in ("lightning.pytorch", "pytorch_lightning"):
        package = importlib.import_module(name)

        class Host(SymmetryMixin, package.LightningModule):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net, self.automatic_optimization = make_net(), not manual

            def symmetries(self) -> str:
                return LEARNT

            def symmetry_balance(self) -> list[float]:
                return [1.0, 0.05, 0.1]

            def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
                x, y = batch
                loss = F.mse_loss(self.net(x), y) + self.symmetry_loss(self.net, x)
                if not manual:
                    return loss
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
                return None

            def configure_optimizers(self) -> Any:
                assert self.symmetry_parts in self.children()
                return torch.optim.Adam(self.parameters(), lr=0.01)

        host = Host()
        package.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
        ).fit(host, deal(make_data()))
        found.append(weights(host))
    assert same(*found)
