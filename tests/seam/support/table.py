"""The support table: every row, the law that each of its cells holds, and its rendering for the README."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import lightning.pytorch.callbacks as lightning_callbacks
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.utils.data import DataLoader

from tests.seam.boring import deal, make_data, make_loader
from tests.seam.support import devices, hosts, projects, saving, trainers
from tests.seam.support.columns import COLUMNS, Column, compare

LOOKING = ("learn", "move", "known", "regularize", "mixin", "extract")
BEGIN, END = "<!-- support -->", "<!-- /support -->"
SHARDED = "a second forward through sharded parameters cannot be served correctly yet"


@dataclass(frozen=True)
class Row:
    """One way to train.

    Args:
        name: As the README shows it.
        run: Holds the law of a column; for a refusal, returns what it says.
        remark: What a reader should know.
        refused: Columns that refuse, and the sentence in which they do.
        blank: Columns for which it means nothing or was not run, and why.
        slow: Whether it takes more than a few seconds.
        needs: Why it cannot be run here, or nothing.
    """

    name: str
    run: Callable[[Column], Any]
    remark: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    blank: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False
    needs: str = ""


def sharded(strategy: str, name: str) -> Row:
    return Row(
        name,
        partial(devices.refuse, strategy=strategy),
        SHARDED,
        refused=dict.fromkeys(LOOKING, SHARDED),
        blank={"expect": "not run: it needs several GPUs"},
    )


def half_precision() -> list[MixedPrecision]:
    return [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**8))]


def uneven() -> DataLoader:
    return DataLoader(make_loader(4).dataset, batch_size=9)


def in_double_precision() -> DataLoader:
    return deal([(x.double(), y.double()) for x, y in make_data()])


def two_loaders(many: type) -> Any:
    loaders = {"a": make_loader(4, seed=1), "b": make_loader(2, rows=3, seed=2)}
    return loaders if many is dict else list(loaders.values())


def average(name: str, *arguments: Any) -> Callable[[Column], None]:
    def run(column: Column) -> None:
        kind = getattr(lightning_callbacks, name)
        for order in (1, -1):
            compare(
                column,
                extra=lambda: [kind(*arguments)],
                order=order,
                val=lambda: make_loader(2, seed=4),
                max_epochs=2,
            )

    return run


MODULE = {"mixin": "a mixin is part of the module, which is configured as ever"}
LIGHTNING = version("lightning")
OLD = f"lightning {LIGHTNING}: " if tuple(map(int, LIGHTNING.split(".")[:2])) < (2, 6) else ""
EMA = "" if hasattr(lightning_callbacks, "EMAWeightAveraging") else "EMAWeightAveraging came with lightning 2.6"

ROWS = [
    Row("automatic optimization", compare),
    Row("manual optimization", partial(compare, kind=hosts.Manual), "the penalty rides on the output's gradient"),
    Row("several optimizers", partial(compare, kind=hosts.TwoOptimizers), "steps with any of them, once a batch"),
    Row("no optimizer", partial(compare, kind=hosts.Frozen), "the group is learnt all the same"),
    Row(
        "LBFGS",
        partial(compare, kind=hosts.Newton, data=in_double_precision),
        "a batch's closures see the same elements",
    ),
    Row("LR schedulers", partial(compare, kind=hosts.Scheduled), "act on the module's parameters alone"),
    Row("gradient accumulation", partial(compare, data=partial(make_loader, 8), accumulate_grad_batches=3)),
    Row(
        "`GradientAccumulationScheduler`",
        partial(
            compare,
            extra=lambda: [lightning_callbacks.GradientAccumulationScheduler({0: 1, 1: 2})],
            max_epochs=3,
        ),
    ),
    Row("gradient clipping", partial(compare, gradient_clip_val=0.01), "clips the module's parameters alone"),
    Row("gradient clipping, manual", partial(compare, kind=hosts.Clipping)),
    Row("batches without a loss", partial(compare, kind=hosts.Skipping), "`training_step` returns None"),
    Row('`precision="bf16-mixed"`', partial(compare, precision="bf16-mixed", tolerance=1e-3)),
    Row(
        '`precision="16-mixed"`',
        partial(compare, plugins=half_precision, tolerance=1e-3),
        "float16 and a gradient scaler on a CPU; there Lightning itself turns the flag into bf16-mixed",
    ),
    Row('`precision="bf16-true"`', partial(compare, precision="bf16-true", tolerance=5e-2)),
    Row('`precision="64-true"`', partial(compare, precision="64-true")),
    Row(
        "a gradient scaler of one's own",
        partial(compare, kind=hosts.OwnScaler),
        "under manual optimization, past Lightning's",
    ),
    Row(
        "its skipped steps",
        partial(compare, kind=hosts.OverflowingOwnScaler),
        "the symmetry skips them too",
    ),
    Row("DDP", partial(devices.share, scenario="shared"), "own draws follow the global row", slow=True),
    Row("DDP, manual optimization", partial(devices.share, scenario="manual"), slow=True),
    Row("DDP, accumulation", partial(devices.share, scenario="accumulating"), slow=True),
    Row("DDP, batch norm and dropout", partial(devices.share, scenario="noisy"), "ranks agree", slow=True),
    Row("DDP, Lightning's sampler", partial(devices.share, scenario="sampled"), slow=True),
    Row("`ddp_spawn`", devices.spawn, "what was learnt is in the report folder", slow=True),
    sharded("FSDPStrategy", "FSDP"),
    sharded("DeepSpeedStrategy", "DeepSpeed"),
    sharded("ModelParallelStrategy", "ModelParallel"),
    Row("`torch.compile` of the module", devices.compile_module, slow=True),
    Row("`torch.compile` of a child", devices.compile_child, slow=True),
    Row("resume", saving.resume, "to the last bit"),
    Row("save within an epoch", saving.save_within_an_epoch, "to the last bit, with a stateful loader"),
    Row("SLURM requeue", saving.requeue, "saved by the signal, found by the next job"),
    Row("checkpoint without this package", saving.load_without_us, "the module's keys are its own"),
    Row("checkpoint from before", saving.load_an_older_one, "the symmetry starts anew"),
    Row("`fast_dev_run`", trainers.develop_fast, "writes nothing"),
    Row("sanity check", trainers.check_sanity),
    Row("`overfit_batches`", partial(compare, overfit_batches=2, max_epochs=2)),
    Row("`limit_train_batches`", partial(compare, limit_train_batches=3)),
    Row("`max_steps`", partial(compare, max_steps=6, max_epochs=-1)),
    Row("`val_check_interval`", trainers.validate_often, "the verdict is made on the last round"),
    Row("`detect_anomaly`", partial(compare, detect_anomaly=True)),
    Row("`inference_mode=False`", partial(compare, inference_mode=False, val=partial(make_loader, 2, seed=5))),
    Row("profiler", trainers.profile),
    Row("`logger=False`", trainers.log_nowhere),
    Row("any logger", trainers.log_somewhere),
    Row("`barebones`", trainers.run_bare, blank={"expect": "nothing is logged"}),
    Row("validate, test, predict", trainers.run_without_fit, "untouched"),
    Row(
        "training loaders in a dict",
        partial(compare, kind=hosts.SeveralLoaders, data=partial(two_loaders, dict), module="net"),
        "with `module=`, since the network is called several times",
    ),
    Row(
        "training loaders in a list",
        partial(compare, kind=hosts.SeveralLoaders, data=partial(two_loaders, list), module="net"),
        "likewise",
    ),
    Row("several validation loaders", trainers.validate_several),
    Row("last small batch", partial(compare, data=uneven)),
    Row("a batch of one", partial(compare, data=partial(make_loader, 3, rows=1))),
    Row(
        "iterable without length",
        partial(compare, data=lambda: DataLoader(hosts.Stream(5), batch_size=8), val_check_interval=2),
    ),
    Row("LR finder", trainers.search_rate_before, "training is that without a search"),
    Row(
        "LR finder as callback",
        trainers.search_rate_within,
        "in both orders",
        needs=OLD and f"{OLD}training may end with the search",
    ),
    Row("batch-size finder", trainers.search_batch_size_before),
    Row("batch-size finder as callback", trainers.search_batch_size_within, "in both orders"),
    Row("`EMAWeightAveraging`", average("EMAWeightAveraging"), "in both orders", needs=EMA),
    Row("`StochasticWeightAveraging`", average("StochasticWeightAveraging", 0.05, 1), "in both orders"),
    Row("`EarlyStopping`, `ModelCheckpoint`", trainers.stop_early, "on a metric of ours"),
    Row("`LightningCLI`", projects.run_from_a_command_line, "flags and configuration", blank=MODULE),
    Row("hydra", projects.run_from_hydra, blank=MODULE, needs="" if find_spec("hydra") else "hydra is not installed"),
    Row(
        "`pytorch_lightning`",
        projects.run_under_the_other_lightning,
        "the run is the same",
        needs=OLD and f"{OLD}a trainer takes callbacks of its own kind only",
    ),
]


def render() -> str:
    """The table as markdown."""
    lines = [
        "| | " + " | ".join(column.title for column in COLUMNS) + " | |",
        "|---|" + ":-:|" * len(COLUMNS) + "---|",
    ]
    for row in ROWS:
        cells = [_mark(row, column.key) for column in COLUMNS]
        blank = [f"{column.title}: {row.blank[column.key]}" for column in COLUMNS if column.key in row.blank]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {'; '.join(filter(None, [row.remark, *blank]))} |")
    return "\n".join(lines)


def _mark(row: Row, key: str) -> str:
    return "refused" if key in row.refused else "–" if key in row.blank else "✓"
