"""What the timing processes are asked to time, and what they answer."""

from io import BytesIO
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from dynbench.files import write_atomically
from dynbench.record.schema import EngineRecord, Latency
from dynbench.suite.schema import BackboneSpec, DataSpec, LatencyProtocol

ANSWER, SAMPLES = "answer.json", "samples.npz"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class TimingRequest(_Message):
    """Time one finished run on the first images of its validation split."""

    results: Path
    run_id: str
    data_root: Path | None
    device: str
    protocol: LatencyProtocol
    command: str


class TimingAnswer(_Message):
    """Latency of every operating point that has an executor, by the point's name.

    Or what was found that makes all of them void.
    """

    points: dict[str, Latency]
    refused: str | None = None


class EnginesRequest(_Message):
    """Time a dense backbone on the protocol's engines."""

    backbone: BackboneSpec
    data: DataSpec
    device: str
    protocol: LatencyProtocol


class EnginesAnswer(_Message):
    """Eager PyTorch first, then the engines asked for, whether they could be timed or not."""

    engines: tuple[EngineRecord, ...]


def write_answer(folder: Path, answer: BaseModel, raw: dict[str, np.ndarray]) -> None:
    """Leave an answer and its raw samples in `folder`."""
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **raw)
    write_atomically(folder / SAMPLES, buffer.getvalue())
    write_atomically(folder / ANSWER, answer.model_dump_json().encode())
