"""What the fresh process is asked to time, and what it answers."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt

from dynbench.record import Latency


class Request(BaseModel):
    """Time one finished run. `images`: the first so many of the validation split; `rounds`: passes over them."""

    model_config = ConfigDict(frozen=True)

    results: Path
    run_id: str
    data_root: Path | None
    device: str
    threads: PositiveInt | None
    images: PositiveInt
    rounds: PositiveInt
    batches: tuple[PositiveInt, ...]
    command: str


class Answer(BaseModel):
    """Latency of every operating point that has an executor, by the point's name."""

    model_config = ConfigDict(frozen=True)

    points: dict[str, Latency]
