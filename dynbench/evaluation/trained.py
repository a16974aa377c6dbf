"""A trained model with all that is needed to ask it: made once, and asked by training, evaluation and timing alike."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dynbench.build import restored_model
from dynbench.context import Context
from dynbench.cost import CostModel, measuring, static_costs
from dynbench.data import Shape
from dynbench.data.augment import Normalise
from dynbench.data.image_files import Images, in_batches
from dynbench.data.split import Data, Split
from dynbench.device import on_device
from dynbench.evaluation.answers import PointEvaluation, Prediction, Tally
from dynbench.evaluation.audit import TOLERANCE, Audit, audit
from dynbench.guards.decoy_labels import check_not_copied, made_up
from dynbench.guards.side_effects import watched
from dynbench.isolate.pulse import alive
from dynbench.method import Method, Output, Point
from dynbench.plan.run import Run
from dynbench.process_group import ALONE, ProcessGroup

BATCH_SIZE = 500


@dataclass(frozen=True)
class Trained:
    """A method and its model, evaluated the same way every time, always in fp32.

    `costs` and `shape` (channels, height, width) are those of the model when this is made: after an edit that changes
    them, as pruning does, it is made again. The weights may keep changing, and so do the answers then.
    """

    method: Method
    model: nn.Module
    costs: CostModel
    normalise: Normalise
    shape: Shape
    device: torch.device
    batch_size: int = BATCH_SIZE
    """Images that it is asked for at a time."""
    processes: ProcessGroup = ALONE
    """They divide the images among them; each has the whole result."""

    @classmethod
    def of(
        cls,
        method: Method,
        model: nn.Module,
        data: Data,
        device: torch.device,
        channels_last: bool = False,
        batch_size: int = BATCH_SIZE,
        processes: ProcessGroup = ALONE,
    ) -> "Trained":
        """Return `model`, which is on `device` already, for images as those of `data`; its costs are taken now.

        Raises ValueError when MACs are spent outside named layers.
        """
        costs = CostModel(static_costs(model, data.shape), device)
        normalise = data.normalise(device, channels_last)
        return cls(method, model, costs, normalise, data.shape, device, batch_size, processes)

    @classmethod
    def in_run(cls, run: Run, method: Method, model: nn.Module, data: Data, context: Context) -> "Trained":
        """Return a run's model as it stands now, asked as the run's context says."""
        size, processes = context.evaluation.batch_size, context.processes
        return cls.of(method, model, data, context.device, run.recipe.channels_last, size, processes)

    @classmethod
    def restored(
        cls,
        run: Run,
        weights: Path,
        data: Data,
        device: torch.device,
        channels_last: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> "Trained":
        """Return a finished run's model, from its `weights`.

        Raises UserError when the weights do not fit, or the method is not installed.
        """
        method = run.make_method()
        model = restored_model(run, method, data.shape, data.num_classes, weights).eval()
        return cls.of(method, on_device(model, device, channels_last), data, device, channels_last, batch_size)

    @property
    def points(self) -> Sequence[Point]:
        """Its operating points, as the method names them now."""
        with watched("naming its points"):
            return self.method.points(self.model)

    def infer(self, x: Tensor, points: Sequence[Point] | None = None) -> list[Output]:
        """Return one output for each of `points` (None: all) on normalised images.

        Images `x` are (batch, channels, height, width); in evaluation mode and without gradients. Nobody watches: see
        `predict`.
        """
        with measuring(self.model):
            return list(self.method.infer(self.model, x, self.points if points is None else points))

    def executor(self, point: Point) -> nn.Module | None:
        """Return what really skips at `point`, on the device and in evaluation mode.

        None: the method has no such thing.
        """
        with torch.no_grad():
            executor = self.method.executor(self.model, point)
        return None if executor is None else executor.to(self.device).eval()

    def predict(
        self,
        images: Images,
        points: Sequence[Point] | None = None,
        batch_size: int | None = None,
        with_usage: bool = False,
    ) -> tuple[Prediction, ...]:
        """Return what it answers at each of `points` (None: all) on `images`.

        Images are uint8 (n, channels, height, width). The result also says what ran of each layer, if asked for. There
        are no labels here, nor in the frames below the plugin's. Each of several processes asks for its part.
        """
        images, size = images.to(self.device), batch_size or self.batch_size
        asked = self.points if points is None else points
        tallies = [Tally(with_usage) for _ in asked]
        with measuring(self.model), watched("while it was evaluated"):
            for batch in in_batches(images, size, self.processes.part(len(images), size)):
                x = self.normalise(batch)
                for tally, output in zip(tallies, self.infer(x, asked), strict=True):
                    tally.add(output, len(x), self.costs)
                alive()
        return tuple(tally.shared(self.processes).result(point) for tally, point in zip(tallies, asked, strict=True))

    def evaluate(
        self, split: Split, points: Sequence[Point] | None = None, with_usage: bool = False
    ) -> tuple[PointEvaluation, ...]:
        """Evaluate at each of `points` (None: all) on the whole split.

        Its labels are made-up ones while the plugin runs. They stay where they are: copies on the device would be true
        ones.

        Raises AuditFailed when the answers follow those.
        """
        processes, classes = self.processes, int(split.labels.max()) + 1
        with made_up(split.labels, classes) as false:
            predictions = self.predict(split.images, points, with_usage=with_usage)
        # Each process has made up its own.
        seen = torch.cat(processes.gathered(false[processes.part(len(split), self.batch_size)].cpu()))
        for prediction in predictions:
            answers, labels = prediction.top[:, 0], split.labels.cpu()
            check_not_copied(answers, labels, seen, classes, f'point "{prediction.point}"')
        return tuple(prediction.score(split.labels) for prediction in predictions)

    def audit(
        self, images: Images, points: Sequence[Point] | None = None, tolerance: float = TOLERANCE
    ) -> tuple[Audit, ...]:
        """Compare what its executors execute on `images` with what is accounted.

        `images` are uint8 (n, channels, height, width), at each of `points` (None: all). Raises AuditFailed as
        `dynbench.evaluation.audit` says.
        """
        x = self.normalise(images[:].to(self.device))
        return audit(self, x, self.points if points is None else points, tolerance)

    def in_float64(self) -> "Trained":
        """Return a copy whose model computes in float64, where rounding decides nothing."""
        return replace(self, model=deepcopy(self.model).double())
