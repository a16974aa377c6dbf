"""The training loop: stages, epochs, steps. CPU and CUDA by the same code, resumable after any epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dynbench.data.augment import Normalise
from dynbench.data.epoch import Augment, Share, epoch_batches
from dynbench.data.split import Data, Split
from dynbench.device import usable_precision
from dynbench.errors import TrainingDiverged
from dynbench.guards.model_changes import ByHand
from dynbench.guards.side_effects import unwatched
from dynbench.isolate.pulse import alive
from dynbench.plan.run import derived_seed
from dynbench.process_group import ALONE, ProcessGroup, check_batch
from dynbench.recipe.averaging import make_averaging, recalibrate
from dynbench.recipe.resizing import epoch_sides, resized
from dynbench.stage import Progress, Stage
from dynbench.suite.recipe import Recipe
from dynbench.train.checkpoint import Within, take_within
from dynbench.train.ddp import share_buffers, shared_loss

LOOK_EVERY = 50
"""Steps between two looks at the loss: each look makes a GPU wait for the host."""
KEEP_SECONDS = 600
"""Of training between two checkpoints within an epoch: what a crash costs at most."""


@dataclass(frozen=True)
class EpochResult:
    """What came of an epoch.

    `loss` is the epoch's mean training loss, `lr` its last step's learning rate, of the first parameter group, `side`
    that of its images in pixels.
    """

    loss: float
    lr: float
    images: int
    seconds: float
    side: int


class StageTrainer:
    """Trains one stage of one run. `optimizer` and the epoch number are all the state there is."""

    def __init__(
        self,
        stage: Stage,
        model: nn.Module,
        data: Data,
        train: Split,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        processes: ProcessGroup = ALONE,
        look_every: int = LOOK_EVERY,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        """Several `processes` make the same trainer each, and each takes its share of every step.

        Raises UserError when a step cannot be divided evenly.
        """
        self.stage, self.model, self.recipe, self.device, self.processes = stage, model, recipe, device, processes
        self._look_every, self._keep_seconds = look_every, keep_seconds
        self._seed, self._train, self._augment = seed, train, data.augment
        self._normalise: Normalise = data.normalise(device, recipe.channels_last)
        self._fill = torch.tensor([round(255 * mean) for mean in data.mean], dtype=torch.uint8)
        self._sides = epoch_sides(recipe.progressive_resizing, stage.epochs, data.shape[1])
        self._batch = min(recipe.batch_size, len(train))
        check_batch(self._batch, processes.world)
        self.steps = len(train) // self._batch
        self._bf16 = usable_precision(recipe.precision, device) == "bf16"
        loss = compiled(stage.loss, recipe.compile)
        self.optimizer: Optimizer = stage.optimizer(model)
        self.averaging = make_averaging(recipe.averaging, model)
        self._loss = shared_loss(model, loss, device, processes)

    def epoch(
        self,
        epoch: int,
        on_step: Callable[[int, float], None],
        within: Within | None = None,
        keep: Callable[[Within], None] | None = None,
    ) -> EpochResult:
        """Train epoch number `epoch`, or continue from `within` it.

        `on_step(steps done, mean loss so far)` now and then. `keep` gets the place every `keep_seconds`, to be
        continued from.

        Raises TrainingDiverged when the loss is NaN or infinite.
        """
        start, spent = (within.step, within.seconds) if within else (0, 0.0)
        started = kept = time.perf_counter()
        self._seed_noise(epoch, within)
        seed = derived_seed(self._seed, self.stage.name, epoch, "data")
        scheduler = self._scheduler(epoch, start)
        share = Share(self.processes.rank, self.processes.world, start)
        total = torch.tensor(within.total(self.processes) if within else 0.0, device=self.device)
        mean, lr = 0.0, 0.0
        self.model.train()
        by_hand = ByHand(self.model, start, self.steps)
        batches = epoch_batches(self._train, self._batch, seed, self._augmentation(epoch), share)
        for step, (images, labels) in enumerate(batches, start):
            with by_hand.loss(step, f"in stage {self.stage.name}, epoch {epoch + 1}"):
                loss = self.loss(self.prepared(images, epoch), labels, self._progress(epoch, step))
            total += self.descend(loss)
            alive()
            lr = float(self.optimizer.param_groups[0]["lr"])
            scheduler.step()
            if (step + 1) % self._look_every == 0 or step + 1 == self.steps:
                mean = float(self.processes.mean(total))
                self._look(epoch, step + 1, mean, on_step)
                if keep and step + 1 < self.steps and self._is_time(kept):
                    kept = time.perf_counter()
                    keep(take_within(step + 1, spent + kept - started, total, self.device, self.processes))
        share_buffers(self.model, self.processes)
        seconds = spent + time.perf_counter() - started
        return EpochResult(mean / self.steps, lr, self.steps * self._batch, seconds, self._sides[epoch])

    def step(self, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """Make one optimisation step on images (batch, channels, height, width); returns the detached loss."""
        return self.descend(self.loss(x, y, progress))

    def loss(self, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """Return the stage's loss, in the precision of the training."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            return self._loss(x, y, progress)

    def descend(self, loss: Tensor) -> Tensor:
        """Make one step down the gradients of `loss`, which it returns detached."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        if self.averaging is not None:
            self.averaging.step()
        return loss.detach()

    def prepared(self, images: Tensor, epoch: int) -> Tensor:
        """Return images (batch, channels, height, width), uint8, as the loss takes them in that epoch."""
        return resized(self._normalise(images), self._sides[epoch])

    def finish(self) -> None:
        """Give the model what the stage results in, after its last epoch.

        Where weights are averaged, the average, with BN statistics taken again from training images.
        """
        averaging, spec = self.averaging, self.recipe.averaging
        if averaging is None or spec is None:
            return
        averaging.finish()
        generator = torch.Generator().manual_seed(derived_seed(self._seed, self.stage.name, "averaging"))
        drawn = torch.randperm(len(self._train), generator=generator)[: spec.bn_images].to(self._train.labels.device)
        batches = (self._normalise(self._train.images[part]) for part in torch.split(drawn, self._batch))
        recalibrate(self.model, batches)
        share_buffers(self.model, self.processes)

    def _augmentation(self, epoch: int) -> Augment | None:
        """The epoch's; which images an alternating flip begins with is the same in every epoch of a run."""
        if not self._augment:
            return None
        how, flips = self.recipe.augmentation, None
        if how.flip == "alternating":
            generator = torch.Generator().manual_seed(derived_seed(self._seed, "flips"))
            first = torch.rand(len(self._train), generator=generator) < 0.5  # noqa: PLR2004  (half)
            flips = first ^ bool(epoch % 2)
        return Augment(how, flips, self._fill if how.cutout else None)

    def _seed_noise(self, epoch: int, within: Within | None) -> None:
        """Random numbers of the losses: others on each process, and continuing where they were."""
        if within is not None and within.restore_random(self.device, self.processes):
            return
        parts: list[object] = [epoch] if within is None else [epoch, f"step {within.step}"]
        if not self.processes.first:
            parts.append(f"process {self.processes.rank}")
        torch.manual_seed(derived_seed(self._seed, self.stage.name, *parts))

    def _is_time(self, kept: float) -> bool:
        """Whether the first process has worked for long since it kept its place."""
        return self.processes.from_first(time.perf_counter() - kept >= self._keep_seconds)

    def _progress(self, epoch: int, step: int) -> Progress:
        return Progress(epoch, self.stage.epochs, (epoch + step / self.steps) / self.stage.epochs)

    def _scheduler(self, epoch: int, start: int) -> LambdaLR:
        """The stage's schedule, by step, from step `start` of `epoch`.

        Warm-up begins after the first step's worth, not at zero.
        """
        done = epoch * self.steps + start
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"])
        return LambdaLR(self.optimizer, lambda step: self.stage.schedule((done + step + 1) / self.steps))

    def _look(self, epoch: int, step: int, total: float, on_step: Callable[[int, float], None]) -> None:
        mean = total / step
        if not abs(mean) < float("inf"):
            raise TrainingDiverged(
                f"the loss became {mean} in stage {self.stage.name}, epoch {epoch + 1}, within step {step} of "
                f"{self.steps}; try a lower learning rate, warm-up or clip_norm"
            )
        with unwatched():
            on_step(step, mean)


Loss = Callable[[nn.Module, Tensor, Tensor, Progress], Tensor]


def compiled(loss: Loss, mode: bool | Literal["reduce-overhead", "max-autotune"]) -> Loss:
    """Return `loss`, with True or a mode under `torch.compile`.

    A mode records CUDA graphs on a GPU: what a call gives, its gradients included, is then overwritten by the next one.
    """
    if not mode:
        return loss
    if mode is True:
        return torch.compile(loss)
    recorded = torch.compile(loss, mode=mode)

    def step(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return recorded(model, x, y, progress)

    return step
