"""`python -m dynbench.latency.engines.worker REQUEST FOLDER`: times the dense backbone on static engines in this fresh
process and nothing else; their thread pools would disturb a method's timing."""

import sys
from pathlib import Path

import torch

from dynbench.backbones import build_backbone
from dynbench.data import load_data
from dynbench.device import fp32_is_fp32
from dynbench.executors import FoldedBackbone
from dynbench.latency.engines.compiled import TorchCompile
from dynbench.latency.engines.engine import Engine
from dynbench.latency.engines.onnx_runtime import OnnxRuntime
from dynbench.latency.engines.timing import time_engines
from dynbench.latency.request import EnginesAnswer, EnginesRequest, write_answer
from dynbench.suite.schema import EngineName

ENGINES: dict[EngineName, type[Engine]] = {"torch.compile": TorchCompile, "onnxruntime": OnnxRuntime}


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
    engines = [ENGINES[name]() for name in protocol.engines]
    records, raw = time_engines(net, engines, images, protocol.ends(len(images)), protocol.rounds)
    write_answer(Path(folder), EnginesAnswer(engines=records), raw)


if __name__ == "__main__":
    _main(*sys.argv[1:])
