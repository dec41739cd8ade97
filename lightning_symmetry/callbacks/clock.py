"""The clock: the callback's own optimizer, which steps when the host's optimizers really stepped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_symmetry.callbacks.loss_scale import LossScale
from lightning_symmetry.functional.distributed import is_distributed, sum_over_ranks

# For parameters that have to settle: Adam's second beta, and the steps after which the learning rate begins to fall.
SETTLING_MEMORY = 0.99
SETTLING_STEPS = 50


class Clock:
    """Steps learnable symmetry parameters once per batch in which a host optimizer stepped.

    Gradients arrive through the host's own backward. They are divided by the gradient scaler's scale, averaged over
    ranks, and dropped when the host's step was skipped or they are not finite. Without host optimizers every batch
    that left gradients counts. While the host accumulates, so does the clock.

    Parameters that have to settle learn apart, such as the widths of a law that is steered by the task's loss: their
    gradients come from the few samples that a wide draw has misled, so that Adam has to forget sooner how large they
    were, and their rate falls like 1 / sqrt(1 + steps / 50).

    Args:
        lr: Learning rate of Adam.
    """

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.parameters: list[nn.Parameter] = []
        self.optimizer: torch.optim.Optimizer | None = None
        self.steps = 0
        self._restored: dict[str, Any] | None = None
        self._handles: list[Any] = []
        self._gradient_handles: list[Any] = []
        self.scale = LossScale()
        self._hosts = 0
        self._running = False
        self._stepped = self._attempted = False
        self._kept: list[Tensor | None] | None = None

    def start(self, optimizers: Iterable[Any], scaler: Any) -> None:
        """Listen to the host's optimizers.

        Args:
            optimizers: The trainer's raw optimizers; stand-ins without parameters do not count.
            scaler: The precision plugin's gradient scaler, or None.
        """
        self.stop()
        # Lightning puts a stand-in without parameter groups where configure_optimizers returns None
        real = [o for o in optimizers if getattr(o, "param_groups", None)]
        self._hosts = len(real)
        self._handles = [o.register_step_post_hook(self._on_step) for o in real]
        self.scale.start(scaler)
        self._stepped = self._attempted = False
        self._running = True
        self._hook_gradients()

    def stop(self) -> None:
        """Remove every hook; harmless when none is there."""
        for handle in self._handles + self._gradient_handles:
            handle.remove()
        self.scale.stop()
        self._handles, self._gradient_handles, self._kept = [], [], None
        self._running = False

    def adopt(self, parameters: Iterable[nn.Parameter], settling: Iterable[nn.Parameter] = ()) -> None:
        """Take parameters to train, once they exist, and restore the optimizer's state when one waits.

        Args:
            parameters: Everything that is learnt.
            settling: Those of them that have to settle.
        """
        self.parameters = list({id(p): p for p in parameters if p.requires_grad}.values())
        apart = {id(p) for p in settling}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters if id(p) not in apart], "settles": False},
            {
                "params": [p for p in self.parameters if id(p) in apart],
                "settles": True,
                "betas": (0.9, SETTLING_MEMORY),
            },
        ]
        groups = [group for group in groups if group["params"]]
        self.optimizer = torch.optim.Adam(groups, lr=self.lr) if groups else None
        if self.optimizer is not None and self._restored is not None:
            self.optimizer.load_state_dict(self._restored)
        self._restored = None
        if self._kept is not None:
            # adopted in the middle of the first batch, whose closure may run again
            self._kept = self._copy_gradients()
        self._hook_gradients()

    def begin_step(self) -> None:
        """Called before every training step: a closure that runs again must not count its gradients twice."""
        if self._kept is None:
            # steps of others between two batches, such as a learning-rate search, are not this batch's
            self._stepped = self._attempted = False
            self.scale.begin_batch()
            self._kept = self._copy_gradients()
        else:
            for parameter, gradient in zip(self.parameters, self._kept, strict=True):
                parameter.grad = None if gradient is None else gradient.clone()

    def note_attempt(self) -> None:
        """Called when the host is about to step; the scaler may still skip it."""
        self._attempted = True

    def end_batch(self) -> bool:
        """Step, drop or keep the gradients of this batch; returns whether it stepped."""
        # a scaler of the module's own skips steps without a word
        skipped = self.scale.end_batch()
        stepped, attempted = self._stepped or self._hosts == 0, self._attempted or skipped
        self._stepped = self._attempted = False
        self._kept = None
        if self.optimizer is None or not (stepped or attempted):
            return False
        taken = stepped and self._gather()
        if taken:
            self.optimizer.step()
            self.steps += 1
            self._slow_down()
        self.optimizer.zero_grad(set_to_none=True)
        return taken

    def state_dict(self) -> dict[str, Any] | None:
        """The optimizer's state, as plain values and tensors."""
        return self._restored if self.optimizer is None else self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Restore now, or as soon as the parameters exist."""
        if self.optimizer is not None and state is not None:
            self.optimizer.load_state_dict(state)
        else:
            self._restored = state

    def _slow_down(self) -> None:
        """Lower the rate of what settles with the root of its steps, whatever the length of the training."""
        if self.optimizer is None:
            return
        for group in self.optimizer.param_groups:
            if group.get("settles"):
                taken = max(float(self.optimizer.state[p].get("step", 0)) for p in group["params"])
                group["lr"] = self.lr / math.sqrt(1 + taken / SETTLING_STEPS)

    def _copy_gradients(self) -> list[Tensor | None]:
        return [None if p.grad is None else p.grad.clone() for p in self.parameters]

    def _gather(self) -> bool:
        """Average gradients over ranks; False when there is nothing to step on."""
        present = any(p.grad is not None for p in self.parameters)
        if not is_distributed():
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            # one question to the device, not one a parameter
            return present and bool(torch.stack([g.isfinite().all() for g in gradients]).all())
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten().double() for p in self.parameters]
            + [self.parameters[0].new_tensor([float(present), 1.0]).double()]
        )
        flat = sum_over_ranks(flat)
        mean, present_anywhere = flat[:-2] / flat[-1], float(flat[-2]) > 0
        for parameter, part in zip(self.parameters, mean.split([p.numel() for p in self.parameters]), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)
        return present_anywhere and bool(mean.isfinite().all())

    def _on_step(self, optimizer: Any, *_: Any) -> None:
        # a fused optimizer is called even on overflow and skips inside its kernel
        found = getattr(optimizer, "found_inf", None)
        if found is None or not bool(torch.as_tensor(found).item()):
            self._stepped = True

    def _hook_gradients(self) -> None:
        for handle in self._gradient_handles:
            handle.remove()
        self._gradient_handles = []
        if self._running:
            # the gradient as it is where nothing is scaled
            self._gradient_handles = [
                p.register_hook(lambda grad: grad / self.scale() if self.scale.is_used else None)
                for p in self.parameters
            ]
