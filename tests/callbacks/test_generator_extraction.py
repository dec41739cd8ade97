"""`GeneratorExtraction` reads what was planted, on every way that leads to a network, and changes nothing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_symmetry.callbacks import GeneratorExtraction, LearnableAugmentation, SymmetryMixin, extraction
from lightning_symmetry.discovery import Discovery, discover
from lightning_symmetry.discovery.candidates import suggest_symmetry, widen_group
from lightning_symmetry.exceptions import AmbiguousPath, InvalidSetting, SymmetryError, TargetError
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import CallbackContract
from tests.seam.boring import (
    Host,
    ManualHost,
    close,
    deal,
    fit,
    make_data,
    make_loader,
    make_net,
    make_noisy_net,
    make_trainer,
    same,
    weights,
)

SENTENCE = "GL on vector -> vector"


class TestGeneratorExtraction(CallbackContract):
    subject = GeneratorExtraction

    def make(self) -> GeneratorExtraction:
        return GeneratorExtraction(SENTENCE)

    def make_off(self) -> GeneratorExtraction:
        return self.make()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Only the numbers are written, unless a test asks for `full_report`."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    if "full_report" not in request.fixturenames:
        monkeypatch.setattr(extraction, "write_report", lambda found, folder, x: found.save(folder))
        monkeypatch.setattr(extraction, "print_discovery", lambda found, folder: None)
    yield tmp_path


@pytest.fixture
def full_report() -> None:
    """Write and print the whole report."""


class Swirl(nn.Module):
    """x (a + b |x|^2): it commutes with rotations, and with nothing else that is linear."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, 0.25]))

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.weight[0] + self.weight[1] * x.square().sum(1, keepdim=True))


class Evaluated(Host):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("test/loss", F.mse_loss(self.net(x), y))


def defects(found: Discovery) -> list[float]:
    return [direction.defect for direction in found.spectrum.directions]


def read_by_hand(net: nn.Module, data: Any, sentence: str = SENTENCE) -> list[float]:
    """The same without a trainer: everything in one batch."""
    x = torch.cat([batch[0] for batch in data])
    return defects(discover(net, x, sentence))


def assert_close(a: list[float], b: list[float]) -> None:
    # the order of summation differs with the batches
    assert len(a) == len(b) and all(abs(one - other) < 1e-5 for one, other in zip(a, b, strict=True)), (a, b)


def run(stage: str, host: Any, callback: GeneratorExtraction, data: Any = None, **settings: Any) -> Discovery:
    data = make_loader(6) if data is None else data
    trainer = make_trainer(callback, **settings)
    if stage == "fit":
        trainer.fit(host, make_loader(), data)
    else:
        getattr(trainer, stage)(host, data, verbose=False)
    return callback.discoveries[0]


# -------------------------------------------------------------------- what is found


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_a_planted_rotation_is_found_and_nothing_else(stage: str) -> None:
    host = Evaluated(Swirl(), lr=1e-4)
    found = run(stage, host, GeneratorExtraction(SENTENCE), make_loader(16))
    assert found.verdict == "symmetric" and found.spectrum.declared == 1
    assert found.canonical_names == ("rotation",) and defects(found)[0] < 1e-3 and defects(found)[1] > 0.1
    assert found.held_out == ("test" if stage == "test" else "validation")


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_it_reads_what_discover_reads_from_the_same_inputs(stage: str) -> None:
    host = Evaluated(make_noisy_net())
    found = run(stage, host, GeneratorExtraction(SENTENCE))
    assert_close(defects(found), read_by_hand(host.net, make_loader(6)))
    assert found.spectrum.samples == 48


def test_a_network_without_symmetry_is_said_to_have_none() -> None:
    assert run("validate", Host(make_net()), GeneratorExtraction(SENTENCE), make_loader(16)).spectrum.declared == 0


def test_several_symmetries_are_read_in_one_run_each_into_its_folder() -> None:
    callback = GeneratorExtraction([SENTENCE, "SO(2) on vector -> vector"], name="both")
    run("validate", Host(Swirl()), callback)
    names = [found.name for found in callback.discoveries]
    assert names == ["gl_on_vector_to_vector", "so_2_on_vector_to_vector"]
    for name, found in zip(names, callback.discoveries, strict=True):
        assert Discovery.load(callback.report_folder / name).verdict == found.verdict


def test_what_was_found_is_a_symmetry_for_other_callbacks() -> None:
    callback = GeneratorExtraction(SENTENCE)
    run("validate", Host(Swirl()), callback, make_loader(16))
    loaded = Symmetry.load(callback.report_folder)
    turn = loaded.group.basis()[0]
    assert torch.allclose(turn, -turn.mT, atol=1e-3)
    LearnableAugmentation(str(callback.report_folder), losses=[], probability=1.0)


# -------------------------------------------------------------------- when it is read


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Batches of training before every reading, and the samples that it saw."""
    seen: list[tuple[int, int]] = []
    original = extraction.read_generators

    def read(gram: Any, *args: Any) -> Discovery:
        found = original(gram, *args)
        seen.append((Counting.batches, found.spectrum.samples))
        return found

    monkeypatch.setattr(extraction, "read_generators", read)
    monkeypatch.setattr(Counting, "batches", 0)
    return seen


class Counting(Callback):
    batches = 0

    def on_train_batch_end(self, *args: Any) -> None:
        type(self).batches += 1


@pytest.mark.parametrize(
    ("settings", "trainer", "expected"),
    [
        ({}, {"max_epochs": 3}, [12]),
        ({"when": "validation"}, {"max_epochs": 3}, [4, 8, 12]),
        ({"when": "validation", "every_n": 2}, {"max_epochs": 3}, [4, 12]),
        ({"when": "validation", "every_n": 2}, {"max_epochs": 4}, [4, 12, 16]),
        ({}, {"max_epochs": 2, "val_check_interval": 3}, [8]),
        ({}, {"max_epochs": 3, "check_val_every_n_epoch": 2}, [12]),
        ({}, {"max_epochs": -1, "max_steps": 6}, [6]),
        ({}, {"max_epochs": -1, "max_steps": 8}, [8]),
        ({}, {"max_epochs": 1, "limit_val_batches": 0}, [4]),
        ({"when": "validation"}, {"max_epochs": 1, "num_sanity_val_steps": 2}, [4]),
    ],
    ids=str,
)
def test_the_last_validation_is_always_read_and_others_on_demand(
    readings: list[tuple[int, int]], settings: dict[str, Any], trainer: dict[str, Any], expected: list[int]
) -> None:
    fit(Host(), GeneratorExtraction(SENTENCE, **settings), Counting(), val=make_loader(2), **trainer)
    assert [batches for batches, _ in readings] == expected


class Stop(Callback):
    """Ends training after an epoch, which no limit of the trainer tells."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch == 1


@pytest.mark.parametrize("settings", [{}, {"val_check_interval": 3}], ids=str)
def test_an_end_that_nobody_could_foresee_is_read_from_the_final_network(
    readings: list[tuple[int, int]], settings: dict[str, Any]
) -> None:
    host, callback = Host(), GeneratorExtraction(SENTENCE)
    fit(host, callback, Counting(), Stop(), val=make_loader(3, seed=5), max_epochs=9, **settings)
    assert readings == [(8, 24)] and callback.discoveries[0].held_out == "validation"
    assert_close(defects(callback.discoveries[0]), read_by_hand(host.net, make_loader(3, seed=5)))


def test_without_validation_data_the_last_batches_of_training_are_read() -> None:
    host, callback = Host(), GeneratorExtraction(SENTENCE)
    trainer = fit(host, callback)
    (found,) = callback.discoveries
    assert found.held_out == "training" and f"symmetry/{found.name}/defect_0" in trainer.callback_metrics
    assert_close(defects(found), read_by_hand(host.net, make_loader()))


def test_what_is_kept_for_the_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "KEPT_SAMPLES", 16)
    callback = GeneratorExtraction(SENTENCE)
    fit(Host(), callback, data=make_loader(9))
    assert callback.discoveries[0].spectrum.samples <= 24
    fit(Host(), callback, Stop(), val=make_loader(9), max_epochs=9)
    assert callback.discoveries[0].spectrum.samples <= 24
    # where the end is foreseen every input counts
    fit(Host(), callback, val=make_loader(9))
    assert callback.discoveries[0].spectrum.samples == 72


# -------------------------------------------------------------------- it changes nothing


@pytest.mark.parametrize("kind", [Host, ManualHost])
@pytest.mark.parametrize("val", [0, 2])
@pytest.mark.parametrize("settings", [{}, {"when": "validation"}, {"module": "net"}, {"backend": "vjp"}], ids=str)
def test_a_fit_is_bit_for_bit_that_without_it(kind: type[Host], val: int, settings: dict[str, Any]) -> None:
    runs = []
    for added in ([], [GeneratorExtraction(SENTENCE, **settings)]):
        torch.manual_seed(3)
        host = kind(make_noisy_net())
        trainer = fit(host, *added, val=make_loader(val, seed=5) if val else None, max_epochs=2)
        trainer.save_checkpoint("last.ckpt")
        saved = torch.load("last.ckpt", weights_only=True)
        assert not saved.pop("callbacks", None)
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith("symmetry/")}
        runs.append((host.losses, logged, repr(saved), torch.get_rng_state().tolist(), set(vars(host))))
        assert not {"training_step", "forward"} & vars(host).keys()
        assert not any("forward" in vars(module) for module in host.modules())
    assert runs[0] == runs[1]


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_an_evaluation_is_bit_for_bit_that_without_it(stage: str) -> None:
    runs = []
    for added in ([], [GeneratorExtraction(SENTENCE)]):
        torch.manual_seed(3)
        host = Evaluated(make_noisy_net())
        host.net[3].train()
        (metrics,) = getattr(make_trainer(*added), stage)(host, make_loader(2), verbose=False)
        own = {name: value for name, value in metrics.items() if not name.startswith("symmetry/")}
        modes = [module.training for module in host.modules()]
        state = {k: v.tolist() for k, v in weights(host).items()}
        runs.append((own, modes, state, torch.get_rng_state().tolist(), set(vars(host))))
    assert runs[0] == runs[1]


def test_a_network_that_was_validated_in_inference_mode_can_be_trained() -> None:
    host, callback = Host(Swirl()), GeneratorExtraction("GL on vector -> learned")
    run("validate", host, callback)
    assert not any(p.is_inference() for p in host.parameters())
    fit(host, callback)
    assert callback.discoveries[0].held_out == "training"


@pytest.mark.parametrize("where", ["training_step", "validation_step", "on_validation_epoch_end"])
def test_nothing_is_left_after_an_error(where: str) -> None:
    class Failing(Host):
        def stumble(self, *args: Any) -> None:
            raise ZeroDivisionError

    host = Failing()
    host.__dict__[where] = host.stumble
    with pytest.raises((ZeroDivisionError, SystemExit)):
        fit(host, GeneratorExtraction(SENTENCE), val=make_loader(2), num_sanity_val_steps=0)
    del host.__dict__[where]
    assert not {"training_step", "forward"} & vars(host).keys()
    assert not any("forward" in vars(module) for module in host.modules())


# -------------------------------------------------------------------- how networks are run


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.float32), ("64-true", torch.float64)])
def test_the_precision_of_the_host_does_not_spoil_the_reading(precision: str, dtype: torch.dtype) -> None:
    host = Host(make_net())
    found = run("validate", host, GeneratorExtraction(SENTENCE), precision=precision)
    assert_close(defects(found), read_by_hand(host.net, [[x.to(dtype)] for x, _ in make_loader(6)]))


def test_a_network_inside_autocast_is_read_in_full_precision() -> None:
    class Deep(Host):
        def __init__(self) -> None:
            super().__init__(nn.Sequential(make_net(0), make_net(1)))

    host = Deep()
    found = run("fit", host, GeneratorExtraction(SENTENCE, module="net.1"), precision="bf16-mixed", max_epochs=1)
    assert found.spectrum.samples == 48 and all(0 <= defect < 10 for defect in defects(found))


def test_a_network_in_half_precision_is_read_as_well_as_that_allows() -> None:
    host = Host(Swirl())
    found = run("validate", host, GeneratorExtraction("SO(2) on vector -> vector"), precision="bf16-true")
    assert defects(found)[0] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_compiled_networks_read_as_plain_ones(whole: bool) -> None:
    host = Host(make_net())
    expected = read_by_hand(host.net, make_loader(6))
    if whole:
        found = run("validate", torch.compile(host, backend="eager"), GeneratorExtraction(SENTENCE))
    else:
        host.net = torch.compile(host.net, backend="eager")
        found = run("validate", host, GeneratorExtraction(SENTENCE))
    assert_close(defects(found), expected)


def test_several_calls_of_a_named_network_all_count() -> None:
    class Twice(Host):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.net(batch[0]), self.net(batch[0] + 1)

    with pytest.raises(TargetError, match="two calls of networks in one evaluation step"):
        run("validate", Twice(), GeneratorExtraction(SENTENCE))
    assert run("validate", Twice(), GeneratorExtraction(SENTENCE, module="net")).spectrum.samples == 96


def test_a_validation_that_calls_no_network_is_told() -> None:
    class Idle(Host):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            return None

    with pytest.raises(TargetError, match="evaluation step of Idle.*called no submodule"):
        run("validate", Idle(), GeneratorExtraction(SENTENCE))
    # in a fit training has shown the network
    assert run("fit", Idle(), GeneratorExtraction(SENTENCE)).held_out == "training"


def test_several_loaders_are_one_round() -> None:
    class Several(Host):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, batch_idx)

    found = run("validate", Several(), GeneratorExtraction(SENTENCE), [make_loader(2), make_loader(3, rows=5, seed=7)])
    assert found.spectrum.samples == 31


def test_batches_of_graphs_are_read() -> None:
    geometric = pytest.importorskip("torch_geometric")

    class Pull(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, batch: Any) -> Tensor:
            centre = torch.zeros(batch.num_graphs, 3).index_add(0, batch.batch, batch.pos)
            centre = centre / torch.bincount(batch.batch)[:, None]
            return self.weight * (centre[batch.batch] - batch.pos).norm(dim=1, keepdim=True) * batch.pos

    class Graphs(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Pull()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.net(batch)

    make = torch.Generator().manual_seed(0)
    graphs = [geometric.data.Data(pos=torch.randn(2 + i % 3, 3, generator=make)) for i in range(48)]
    data = geometric.loader.DataLoader(graphs, batch_size=12)
    found = run("validate", Graphs(), GeneratorExtraction("GL on batch.pos=points -> vector"), data)
    # rotations, and the scaling that a map of degree 2 does not commute with is left out
    assert found.spectrum.declared == 3 and all(name.startswith("rotation") for name in found.canonical_names)


# -------------------------------------------------------------------- what it tells


def test_metrics_are_logged_and_can_be_monitored() -> None:
    logger = CSVLogger("logs")
    watching = GeneratorExtraction(SENTENCE, when="validation", name="planar")
    best = ModelCheckpoint(dirpath="best", monitor="symmetry/planar/defect_0")
    patient = EarlyStopping(monitor="symmetry/planar/defect_0", min_delta=1e9, patience=1)
    settings = {"max_epochs": 9, "enable_checkpointing": True, "logger": logger, "log_every_n_steps": 1}
    trainer = fit(Host(), watching, best, patient, val=make_loader(2), **settings)
    assert trainer.current_epoch < 9 and best.best_model_score is not None
    assert "symmetry/planar/n_generators" in trainer.callback_metrics
    header, *lines = Path(logger.log_dir, "metrics.csv").read_text().splitlines()
    assert "symmetry/planar/defect_0" in header.split(",") and lines


def test_what_validate_returns_holds_the_result() -> None:
    callback = GeneratorExtraction(SENTENCE, name="planar")
    (metrics,) = make_trainer(callback).validate(Host(Swirl()), make_loader(16), verbose=False)
    assert metrics["symmetry/planar/n_generators"] == 1 and metrics["symmetry/planar/symmetric"] == 1
    assert metrics["symmetry/planar/defect_0"] == pytest.approx(defects(callback.discoveries[0])[0], abs=1e-6)


def test_a_development_run_writes_nothing(folder: Path) -> None:
    fit(Host(), GeneratorExtraction(SENTENCE), val=make_loader(2), fast_dev_run=1)
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_barebones_trainers_hear_nothing_of_logging(recwarn: pytest.WarningsRecorder) -> None:
    bare = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"))
    callback = GeneratorExtraction(SENTENCE)
    fit(Host(), callback, val=make_loader(2), barebones=True, **bare)
    assert callback.discoveries and not [w for w in recwarn if "log_dict" in str(w.message)]


@pytest.mark.slow
def test_the_whole_report_is_printed_and_written(full_report: None, capsys: pytest.CaptureFixture[str]) -> None:
    callback = GeneratorExtraction(SENTENCE, when="validation")
    fit(Host(Swirl(), lr=1e-4), callback, val=make_loader(16), max_epochs=2)
    told = capsys.readouterr().out
    assert told.count("symmetric: 1 of 4 directions holds: rotation") == 2  # in a line first, at the end with the table
    assert f"report: {callback.report_folder}" in told
    written = {path.name for path in callback.report_folder.iterdir()}
    assert {"symmetry.yaml", "symmetry.safetensors", "report.json"} <= written


# -------------------------------------------------------------------- what is looked for


class Digits(LightningModule):
    """Images in, logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 5))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.net(batch[0])


def test_without_a_sentence_the_kind_of_the_data_decides_and_it_is_said_aloud(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = DataLoader(TensorDataset(torch.rand(16, 1, 8, 8)), 8)
    callback = GeneratorExtraction()
    found = run("validate", Digits(), callback, data)
    assert found.symmetry.output.sentence == "label" and len(found.spectrum.directions) == 6
    assert "looks for 'affine on image -> label', chosen by the kind of the data" in capsys.readouterr().out
    assert callback.report_folder.name == found.name == "affine_on_image_to_label"
    assert run("validate", Host(), callback).name == "gl_on_vector_to_learned"


def test_auto_is_said_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    data = DataLoader(TensorDataset(torch.rand(16, 1, 8, 8)), 8)
    run("validate", Digits(), GeneratorExtraction("affine on auto -> auto"), data)
    assert "four axes" in capsys.readouterr().out


def test_a_module_that_states_symmetries_is_asked() -> None:
    class Stating(SymmetryMixin, Host):
        def symmetries(self) -> str:
            return "SO(2) on vector -> vector"

    assert run("validate", Stating(), GeneratorExtraction()).name == "so_2_on_vector_to_vector"


@pytest.mark.parametrize(
    ("sentence", "candidates"),
    [
        ("image -> label", "affine"),
        ("vector(2) -> vector", "GL"),
        ("points -> scalar", "affine"),
        ("learned(3) on vector -> scalar", "GL"),
        ("polynomial_field(2) on points -> scalar", "polynomials(2)"),
        ("SO(2) on vector -> scalar", "SO(2)"),
    ],
)
def test_a_group_to_be_learnt_stands_for_all_that_it_could_become(sentence: str, candidates: str) -> None:
    widened = widen_group(Symmetry.parse(sentence))
    assert widened.group.sentence == candidates and not widened.group.learnable
    assert widened.input.sentence == Symmetry.parse(sentence).input.sentence
    assert widen_group(Symmetry.parse(sentence, name="mine")).name == "mine"


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        ({"x": torch.zeros(4, 3)}, torch.zeros(4, 2), "GL on vector -> learned"),
        ({"x": torch.zeros(4, 3)}, torch.zeros(4), "GL on vector -> scalar"),
        ({"x": torch.zeros(4, 1, 6, 6)}, torch.zeros(4, 10), "affine on image -> label"),
        (
            {"pos": torch.zeros(4, 5, 3), "z": torch.zeros(4, 5, dtype=torch.long)},
            {"energy": torch.zeros(4), "forces": torch.zeros(4, 5, 3)},
            "affine on pos=points, z=scalar -> energy=scalar, forces=vector",
        ),
    ],
)
def test_what_the_kind_of_the_data_suggests(x: Any, y: Any, sentence: str) -> None:
    assert suggest_symmetry(x, y).sentence == sentence


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ({"x": torch.zeros(4, 1, 6, 6)}, torch.zeros(4, 1, 6, 6)),
        ({"x": torch.zeros(4, 784)}, torch.zeros(4, 10)),
        ({"x": torch.zeros(4, 7, 5)}, torch.zeros(4, 10)),
        ({"x": torch.zeros(4, dtype=torch.long)}, torch.zeros(4)),
        ({"a": torch.zeros(4, 3), "b": torch.zeros(4, 3)}, torch.zeros(4)),
    ],
    ids=["dense output", "long vector", "no kind", "numbers", "two vectors"],
)
def test_where_the_data_leave_a_choice_none_is_made(x: Any, y: Any) -> None:
    with pytest.raises(AmbiguousPath, match="expected"):
        suggest_symmetry(x, y)


# -------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "settings",
    [{"when": "never"}, {"every_n": 2}, {"every_n": 0, "when": "validation"}, {"delta": 0.0}, {"delta": 1.5},
     {"name": "a/b"}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        GeneratorExtraction(SENTENCE, **settings)


@pytest.mark.parametrize(
    "sentence", ["C4 on vector -> vector", "image -> label", "GL on vector -> label(", "GL on x.y=vector -> scalar"]
)
def test_what_cannot_be_read_is_told_before_a_weight_moves(sentence: str) -> None:
    host = Host()
    before = weights(host)
    with pytest.raises(SymmetryError):
        fit(host, GeneratorExtraction(sentence), val=make_loader(2))
    assert same(before, weights(host)) and "training_step" not in vars(host)


def test_two_reports_do_not_go_to_one_folder() -> None:
    learning = LearnableAugmentation("SO(2) on vector -> vector", losses=[], probability=1.0)
    with pytest.raises(InvalidSetting, match="name="):
        fit(Host(), learning, GeneratorExtraction("SO(2) on vector -> vector"))
    reading = GeneratorExtraction("SO(2) on vector -> vector", name="read")
    fit(Host(), learning, reading, val=make_loader(2))
    assert reading.discoveries and learning.report_folder != reading.report_folder


def test_a_network_that_is_named_but_never_called_is_told() -> None:
    class Spare(Host):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(2, 2)

    for stage in ("fit", "validate"):
        with pytest.raises(TargetError, match="spare"):
            run(stage, Spare(), GeneratorExtraction(SENTENCE, module="spare"))


# -------------------------------------------------------------------- both Lightnings


@pytest.mark.slow
def test_both_lightnings_read_the_same() -> None:
    found = []
    for name in ("lightning.pytorch", "pytorch_lightning"):
        package = importlib.import_module(name)

        class Foreign(package.LightningModule):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net = make_net()

            def training_step(self, batch: Any, batch_idx: int) -> Tensor:
                return F.mse_loss(self.net(batch[0]), batch[1])

            def validation_step(self, batch: Any, batch_idx: int) -> None:
                self.net(batch[0])

            def configure_optimizers(self) -> Any:
                return torch.optim.Adam(self.parameters(), lr=0.01)

        callback, host = GeneratorExtraction(SENTENCE), Foreign()
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = package.Trainer(callbacks=[callback], accelerator="cpu", max_epochs=2, **quiet)
        trainer.fit(host, deal(make_data()), deal(make_data(3, seed=9)))
        assert any(key.startswith("symmetry/") for key in trainer.callback_metrics)
        found.append((weights(host), defects(callback.discoveries[0])))
    assert close(found[0][0], found[1][0], 0) and found[0][1] == found[1][1]
