"""Trains a run through all its stages, continuing from its checkpoint if it has one."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from dynbench.backbones.weights import load_weights, save_weights
from dynbench.context import Context
from dynbench.counter.training import TrainingCounter
from dynbench.data.split import Data, Split
from dynbench.errors import UserError
from dynbench.evaluation.answers import PointEvaluation
from dynbench.evaluation.trained import Trained
from dynbench.guards.model_changes import steps_are
from dynbench.guards.side_effects import unwatched, watched
from dynbench.method import Method
from dynbench.plan.run import Run, derived_seed
from dynbench.recipe.averaging import averaging_state
from dynbench.record.schema import EpochRecord, StageBudget
from dynbench.stage import Stage, apply_edits
from dynbench.train.budget import ImageMacs, check_training_macs, image_macs
from dynbench.train.calibration import NAME, calibrate_model
from dynbench.train.checkpoint import Checkpoint, Within, damaged, read_checkpoint, restore_checkpoint, write_checkpoint
from dynbench.train.ddp import share_buffers
from dynbench.train.trainer import KEEP_SECONDS, LOOK_EVERY, EpochResult, StageTrainer


class Journal(BaseModel):
    """What a checkpoint carries besides tensors. `started` is in seconds since 1970."""

    model_config = ConfigDict(frozen=True)

    started: float
    stages: tuple[StageBudget, ...] = ()
    history: tuple[EpochRecord, ...] = ()


@dataclass
class Session:
    """One run's training. `train` may be called again, in another process, after any interruption."""

    run: Run
    method: Method
    model: nn.Module
    data: Data
    context: Context
    look_every: int = LOOK_EVERY
    keep_seconds: float = KEEP_SECONDS
    _train: Split = field(init=False)
    _validation: Split = field(init=False)

    def __post_init__(self) -> None:
        self._train = self.data.train.to(self.context.device)
        # Labels stay where they are: copies on the device would be true ones while the plugin is evaluated.
        images = self.data.validation.images.to(self.context.device)
        self._validation = Split(images, self.data.validation.labels)
        self._checkpoint = self.context.results.checkpoint(self.run.run_id)

    def train(self) -> Journal:
        """Run every stage to its end; the model is then trained. Raises TrainingDiverged, UserError."""
        checkpoint = read_checkpoint(self._checkpoint, self.run.run_id)
        self._check_shared(checkpoint)
        journal = self._journal(checkpoint)
        with watched("while it named its stages"), steps_are(0, "while it named its stages"):
            stages = self.method.stages(self.run.recipe)
        for index, stage in enumerate(stages):
            # Seeded for itself: a run that continues has not drawn the numbers of the stages before.
            torch.manual_seed(derived_seed(self.run.seed, stage.name, "edit"))
            started = time.perf_counter()
            edit_macs = self._edit(stage)
            if checkpoint is not None and index < checkpoint.stage:
                load_weights(self.model, self._end_of(index))  # the next edit may depend on them
                continue
            here = checkpoint if checkpoint is not None and index == checkpoint.stage else None
            if stage.epochs:
                journal = self._train_stage(index, stage, journal, here, edit_macs)
            else:
                journal = _with_edits(journal, stage, edit_macs, time.perf_counter() - started)
            if index + 1 < len(stages) and self.context.processes.first:
                save_weights(self.model, self._end_of(index))
        return self._calibrated(journal)

    def _calibrated(self, journal: Journal) -> Journal:
        """Let the method set its thresholds: done again by a run that continues after it, with the same result."""
        seed, device = derived_seed(self.run.seed, NAME), self.context.device
        spent = calibrate_model(self.method, self.model, self.data, device, seed, self.run.recipe.channels_last)
        if spent is None:
            return journal
        share_buffers(self.model, self.context.processes)
        return journal.model_copy(update={"stages": (*journal.stages, spent)})

    def _journal(self, checkpoint: Checkpoint | None) -> Journal:
        if checkpoint is None:
            return Journal(started=time.time())
        try:
            return Journal.model_validate_json(checkpoint.done)
        except ValidationError as error:
            raise damaged(self._checkpoint) from error

    def _check_shared(self, checkpoint: Checkpoint | None) -> None:
        """Raises UserError when the processes would not continue from the same place."""
        places = self.context.processes.gathered(_place(checkpoint))
        if len(set(places)) > 1:
            raise UserError(
                f"the processes of this run do not find the same checkpoint in {self._checkpoint.parent}; "
                "--results has to be on storage that all machines share"
            )

    def _edit(self, stage: Stage) -> int:
        """Make the stage's edits in place and return the MACs that they dispatched."""
        doing = f"in the edit before stage {stage.name}"
        with watched(doing), steps_are(0, doing), TrainingCounter() as counter:
            apply_edits(stage, self.model, partial(self._training_images, stage))
        return counter.macs

    def _training_images(self, stage: Stage, count: int) -> Tensor:
        """`count` of them, or all: the same ones whenever the run continues."""
        generator = torch.Generator().manual_seed(derived_seed(self.run.seed, stage.name, "images"))
        drawn = torch.randperm(len(self._train), generator=generator)[:count].to(self.context.device)
        normalise = self.data.normalise(self.context.device, self.run.recipe.channels_last)
        return normalise(self._train.images[drawn])

    def _end_of(self, index: int) -> Path:
        return self.context.results.stage_weights(self.run.run_id, index)

    def _train_stage(
        self, index: int, stage: Stage, journal: Journal, checkpoint: Checkpoint | None, edit_macs: int
    ) -> Journal:
        processes, device = self.context.processes, self.context.device
        trainer = StageTrainer(
            stage,
            self.model,
            self.data,
            self._train,
            self.run.recipe,
            self.run.seed,
            device,
            processes,
            self.look_every,
            self.keep_seconds,
        )
        if checkpoint is not None:
            restore_checkpoint(self._checkpoint, checkpoint, self.model, trainer.optimizer, trainer.averaging)
        first, within = (checkpoint.epoch, checkpoint.within) if checkpoint is not None else (0, None)
        macs = self._macs_of(stage, journal if first else None, checkpoint)
        # Made here, since the stage's edits are done: they change what layers cost.
        trained = Trained.in_run(self.run, self.method, self.model, self.data, self.context)
        observer = self.context.observer
        observer.stage_started(self.run, stage.name, stage.epochs, first, trainer.steps)
        for epoch in range(first, stage.epochs):
            doing = f"in stage {stage.name}, epoch {epoch + 1}"
            keep = partial(self._keep, trainer, journal, index, epoch, macs)
            steps = trainer.steps - (within.step if within else 0)
            with watched(doing, files_only=bool(self.run.recipe.compile)), steps_are(steps, doing):
                result = trainer.epoch(epoch, partial(observer.steps_done, epoch), within, keep)
            within = None
            last = epoch + 1 == stage.epochs
            extra = self._finish(trainer, doing) if last else 0
            looks = last or (epoch + 1) % self.context.evaluation.validate_every == 0
            seen = trained.evaluate(self._validation, trained.points[:1])[0] if looks else None
            spent = macs.at(result.side) * result.images + extra
            journal = _with_epoch(journal, stage, epoch, result, seen, spent, edit_macs)
            self._keep(trainer, journal, index, epoch + 1, macs)
            observer.epoch_finished(self.run, journal.history)
        check_training_macs(stage, self.model, self.data.shape, self.data.num_classes, macs.whole)
        return journal

    def _finish(self, trainer: StageTrainer, doing: str) -> int:
        """Give the model what the stage results in; the MACs that this dispatched."""
        with watched(doing), TrainingCounter() as counter:
            trainer.finish()
        return counter.macs

    def _keep(
        self,
        trainer: StageTrainer,
        journal: Journal,
        index: int,
        epoch: int,
        macs: ImageMacs,
        within: Within | None = None,
    ) -> None:
        """Write the checkpoint, if this is the process that writes."""
        if not self.context.processes.first:
            return
        done = journal.model_dump_json()
        model, optimizer = self.model.state_dict(), trainer.optimizer.state_dict()
        by_side, averaging = dict(macs.by_side), averaging_state(trainer.averaging)
        state = Checkpoint(
            self.run.run_id, index, epoch, model, optimizer, done, within, macs.whole, by_side, averaging
        )
        with unwatched():
            write_checkpoint(self._checkpoint, state)

    def _macs_of(self, stage: Stage, journal: Journal | None, checkpoint: Checkpoint | None) -> ImageMacs:
        """Training MACs of an image, measured once a stage, at its start: what a policy skips changes while it trains.

        A stage that continues has them in its `checkpoint`, or in its `journal`.
        """
        if checkpoint is not None and checkpoint.macs is not None:
            return ImageMacs(checkpoint.macs, checkpoint.macs_by_side)
        if journal is not None:
            return ImageMacs(journal.stages[-1].train_macs // journal.stages[-1].images)
        batch = min(self.run.recipe.batch_size, len(self._train))
        return image_macs(stage, self.model, self.data.shape, self.data.num_classes, self.run.recipe, batch)


def _with_edits(journal: Journal, stage: Stage, macs: int, seconds: float) -> Journal:
    """The journal after a stage without epochs: of its cost, images are those that it was given."""
    images = 0 if stage.edit_on_images is None else stage.images
    spent = StageBudget(name=stage.name, epochs=0, images=images, train_macs=0, seconds=seconds, edit_macs=macs)
    return journal.model_copy(update={"stages": (*journal.stages, spent)})


def _place(checkpoint: Checkpoint | None) -> tuple[int, int, int] | None:
    """(stage, epochs, steps)."""
    if checkpoint is None:
        return None
    return checkpoint.stage, checkpoint.epoch, checkpoint.within.step if checkpoint.within else 0


def _with_epoch(
    journal: Journal,
    stage: Stage,
    epoch: int,
    result: EpochResult,
    seen: PointEvaluation | None,
    macs: int,
    edit_macs: int,
) -> Journal:
    """The journal with one more epoch, which took `macs`, in its history and in its stage's budget."""
    entry = EpochRecord(
        stage=stage.name,
        epoch=epoch,
        time=time.time(),
        seconds=result.seconds,
        loss=result.loss,
        lr=result.lr,
        val_top1=seen.top1 if seen else None,
        val_macs=float(seen.total_macs.mean()) if seen else None,
    )
    before = journal.stages if epoch == 0 else journal.stages[:-1]
    spent = journal.stages[-1] if epoch else StageBudget(name=stage.name, epochs=0, images=0, train_macs=0, seconds=0)
    budget = StageBudget(
        name=stage.name,
        epochs=epoch + 1,
        images=spent.images + result.images,
        train_macs=spent.train_macs + macs,
        seconds=spent.seconds + result.seconds,
        edit_macs=edit_macs,
    )
    return journal.model_copy(update={"stages": (*before, budget), "history": (*journal.history, entry)})
