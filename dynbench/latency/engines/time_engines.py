"""Times the dense backbone on static engines: `python -m dynbench.latency.engines.time_engines REQUEST FOLDER`.

Passes are made in turn, beside eager PyTorch, in this fresh process and nothing else: the engines' threads would
disturb a method's timing.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.data import load_data
from dynbench.device import fp32_is_fp32
from dynbench.executors import FoldedBackbone
from dynbench.latency.engines.engine import Call, EagerPytorch, Engine, load_engine
from dynbench.latency.figures import Samples
from dynbench.latency.loop import batches_of, by_pass
from dynbench.latency.request import EnginesAnswer, EnginesRequest, write_answer
from dynbench.record.schema import EngineRecord, EngineTiming

SEED = 0
TOLERANCE = 1e-4
"""Logits may differ from eager PyTorch's by this fraction of the largest one."""
_LONGEST_REASON = 200

Arrays = dict[str, np.ndarray]


class WrongLogits(Exception):  # noqa: N818  (named for what happened)
    """An engine computes something other than eager PyTorch."""


@dataclass
class _Found:
    """What is known of one engine so far."""

    engine: Engine
    timings: list[EngineTiming]
    reason: str | None


def _main(request_path: str, folder: str) -> None:
    request = EnginesRequest.model_validate_json(Path(request_path).read_bytes())
    protocol = request.protocol
    fp32_is_fp32()
    if protocol.threads is not None:
        torch.set_num_threads(protocol.threads)
    device = torch.device(request.device)
    data = load_data(request.data)
    images = data.normalise(device)(data.validation.images[: protocol.images].to(device))
    torch.manual_seed(0)
    # Weights do not change what a static net costs.
    net = FoldedBackbone(build_backbone(request.backbone, data.shape, data.num_classes), kernels=False)
    net.to(device).eval()
    engines = [load_engine(name) for name in protocol.engines]
    records, raw = time_engines(net, engines, images, protocol.ends(len(images)), protocol.rounds)
    write_answer(Path(folder), EnginesAnswer(engines=records), raw)


def time_engines(
    net: nn.Module, engines: Sequence[Engine], images: Tensor, sizes: Sequence[int], rounds: int
) -> tuple[tuple[EngineRecord, ...], Arrays]:
    """Time `net` on eager PyTorch and on `engines`, at each batch size in `sizes`.

    On `images` (n, channels, height, width). An engine that fails is in the result, with the reason. Also returns raw
    samples, as `engines/NAME/BATCH/ms`: milliseconds, float64 (rounds, calls).
    """
    found = [_Found(engine, [], engine.unsupported(images.device)) for engine in (EagerPytorch(), *engines)]
    raw: Arrays = {}
    with torch.inference_mode():
        for size in sizes:
            batches = batches_of(images, size)
            calls = _prepared(net, found, batches)
            samples = by_pass(list(calls.values()), batches, rounds, SEED)
            for one, taken in zip(calls, samples, strict=True):
                raw[f"engines/{found[one].engine.name}/{size}/ms"] = taken.ms
                found[one].timings.append(_timing(size, taken, eager=samples[0]))
    return tuple(map(_record, found)), raw


def _prepared(net: nn.Module, found: Sequence[_Found], batches: Sequence[Tensor]) -> dict[int, Call]:
    """What can be timed, by its place in `found`; why the others cannot is noted there."""
    calls = {}
    for index, one in enumerate(found):
        if one.reason is None:
            try:
                calls[index] = _checked(one.engine, net, batches[0])
            except Exception as error:  # compilers and exporters raise anything; it costs this engine only
                one.reason = _in_one_line(error)
    return calls


def _checked(engine: Engine, net: nn.Module, example: Tensor) -> Call:
    """The engine's call, which computes what eager PyTorch does. Raises WrongLogits, and whatever the engine does."""
    expected = net(example)
    with torch.inference_mode(mode=False), torch.no_grad():  # exporters trace, which inference tensors do not allow
        call = engine.prepare(net, example.clone(), torch.get_num_threads())
    difference = float((call(example) - expected).abs().amax() / expected.abs().amax())
    if not difference < TOLERANCE:
        raise WrongLogits(f"its logits differ from eager PyTorch's by {difference:.1g} of the largest")
    return call


def _in_one_line(error: Exception) -> str:
    said = str(error).partition("Set TORCHDYNAMO_VERBOSE")[0]  # torch's advice for debugging
    text = " ".join(said.split()) or "no message"
    named = text if isinstance(error, WrongLogits) else f"{type(error).__name__}: {text}"
    return named[:_LONGEST_REASON]


def _timing(size: int, own: Samples, eager: Samples) -> EngineTiming:
    return EngineTiming(
        batch=size,
        calls=own.ms.shape[1],
        rounds=own.ms.shape[0],
        mean_ms=own.mean,
        p50_ms=own.percentile(50),
        p90_ms=own.percentile(90),
        p99_ms=own.percentile(99),
        throughput_ips=1000 * size / own.mean,
        of_eager=own.mean / eager.mean,
    )


def _record(found: _Found) -> EngineRecord:
    """An engine that failed at a later batch size keeps what it did before, beside the reason."""
    engine = found.engine
    return EngineRecord(name=engine.name, version=engine.version(), absent=found.reason, timings=tuple(found.timings))


if __name__ == "__main__":
    _main(*sys.argv[1:])
