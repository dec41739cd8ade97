"""Networks on batches of graphs: every molecule turns as a whole, and nothing of the batch is touched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.balancing import Dual
from lightning_symmetry.callbacks import EquivarianceRegularizer
from tests.seam.boring import Host, close, deal, fit, make_callback, weights

SIZES = [[3, 1, 4, 2], [2, 2], [5]]  # the last batch is a single graph


class Potential(nn.Module):
    """Energies from distances within each graph: turning and shifting a graph changes nothing."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.inner = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        self.leak = leak

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> dict[str, Tensor]:
        same = (batch[:, None] == batch).float()
        near = (same * torch.exp(-torch.cdist(pos, pos))).sum(1)
        node = self.inner(torch.stack([near + self.leak * pos[:, 0], z.float()], 1))[:, 0]
        centres = torch.zeros(int(batch.max()) + 1, 3).index_add(0, batch, pos)
        centre = centres[batch] / same.sum(1, keepdim=True)
        return {
            "energy": torch.zeros(len(centres)).index_add(0, batch, node),
            "forces": node[:, None] * (pos - centre),
        }


class Whole(nn.Module):
    """Takes a graph object."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        self.inner = Potential(leak)

    def forward(self, data: Any) -> dict[str, Tensor]:
        return self.inner(data.z, data.pos, data.batch)


class Molecules(Host):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)

    def loss(self, batch: Any) -> Tensor:
        y = self.net(batch) if isinstance(self.net, Whole) else self.net(batch.z, batch.pos, batch=batch.batch)
        forces = y["forces"] * torch.arange(1.0, 4.0) - 0.1 * batch.pos
        return F.mse_loss(y["energy"], batch.y) + forces.square().mean()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.note(self.loss(batch))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch), batch_size=batch.num_graphs)


def make_batches() -> list[Any]:
    data = pytest.importorskip("torch_geometric.data")
    generator = torch.Generator().manual_seed(0)
    return [
        data.Batch.from_data_list(
            [
                data.Data(
                    z=torch.randint(1, 5, (n,), generator=generator),
                    pos=torch.randn(n, 3, generator=generator),
                    y=torch.randn(1, generator=generator),
                )
                for n in sizes
            ]
        )
        for sizes in SIZES
    ]


STYLES = {
    "arguments": (Potential, "SE(3) on pos=points, z=scalar -> energy=scalar, forces=vector"),
    "graph object": (Whole, "SE(3) on data.pos=points -> energy=scalar, forces=vector"),
    "auto": (Potential, "SE(3) on auto -> auto"),
}


@pytest.mark.parametrize("probability", [0.5, 1.0])
@pytest.mark.parametrize("style", STYLES)
def test_training_on_moved_graphs_leaves_an_equivariant_network_as_it_was(style: str, probability: float) -> None:
    kind, sentence = STYLES[style]
    data = make_batches()
    before = [batch.clone() for batch in data]
    plain, moved = Molecules(kind()), Molecules(kind())
    fit(plain, data=deal(data))
    fit(moved, make_callback(sentence, losses=[], probability=probability, name="s"), data=deal(data))
    # the centre of a turned graph is found up to rounding
    assert close(weights(plain), weights(moved), 1e-5)
    leaking = Molecules(kind(0.5)), Molecules(kind(0.5))
    fit(leaking[0], data=deal(data))
    fit(leaking[1], make_callback(sentence, losses=[], probability=probability, name="s"), data=deal(data))
    assert not close(*map(weights, leaking), 1e-5)
    for batch, kept in zip(data, before, strict=True):
        assert torch.equal(batch.pos, kept.pos) and batch.keys() == kept.keys()


@pytest.mark.parametrize("style", STYLES)
def test_penalties_and_verdicts_see_graphs(style: str, tmp_path: Any) -> None:
    kind, sentence = STYLES[style]
    data = make_batches()
    values = {}
    for leak in (0.0, 0.5):
        callback = make_callback(sentence, name="s")
        fit(Molecules(kind(leak)), callback, data=deal(data[:2]), val=deal(data), default_root_dir=tmp_path / str(leak))
        values[leak] = callback._values["s/equivariance"]
        (found,) = callback.discoveries
        violations = [g.violation for g in found.generators]
        assert (max(violations[:3]) < 1e-6) if leak == 0 else (max(violations) > 1e-3)
    assert values[0.0] < 1e-6 and values[0.5] > 1e-5


@pytest.mark.parametrize("style", STYLES)
def test_strengths_tune_themselves_on_graphs(style: str, tmp_path: Any) -> None:
    kind, sentence = STYLES[style]
    data, multipliers = make_batches(), {}
    for leak in (0.0, 0.5):
        callback = EquivarianceRegularizer(sentence, balance=Dual(1e-4, rate=10.0, warmup=0), name="s")
        fit(Molecules(kind(leak)), callback, data=deal(data), val=deal(data), default_root_dir=tmp_path / str(leak))
        (level,) = callback.levels
        multipliers[leak] = callback.balance.strengths(1, callback.step)[0]
        assert (level.error < 1e-4) if leak == 0 else (level.error > 1e-3)
    assert multipliers[0.0] == 0 < multipliers[0.5]


def test_what_auto_chose_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    fit(
        Molecules(Potential()),
        make_callback("SE(3) on auto -> auto", losses=[], probability=1.0),
        data=deal(make_batches()),
    )
    said = capsys.readouterr().out
    assert said.count("auto chose") == 1
    assert "input: z=scalar (whole numbers), pos=points (its name)" in said
    assert "output: energy=scalar (its name), forces=vector (its name)" in said
