"""What a run needs and its result does not depend on."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynbench.observer import Observer
from dynbench.process_group import ALONE, ProcessGroup
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import Evaluation

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Context:
    """Where, on what and under whose eyes runs are made."""

    results: ResultsFolder
    device: "torch.device"
    data_root: Path | None
    evaluation: Evaluation
    observer: Observer
    command: str
    commit: str
    """Of the code that runs: asked for at the start, since a checkout can move on under a long run."""
    processes: ProcessGroup = ALONE
    """The processes that make a run together."""

    def weights(self, run_id: str) -> Path:
        """Trained weights of a finished run."""
        return self.results.weights(run_id)
