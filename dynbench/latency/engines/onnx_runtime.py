"""ONNX Runtime on the CPU, its graph optimisations as they come."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from dynbench.latency.engines.engine import Call, Engine

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class OnnxRuntime(Engine):
    """ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def version(self) -> str:
        try:
            return version("onnxruntime")
        except PackageNotFoundError:
            return ""

    def unsupported(self, device: torch.device) -> str | None:
        if device.type != "cpu":
            return "dynbench times ONNX Runtime on the CPU only"
        missing = [package for package in PACKAGES if find_spec(package) is None]
        return f"{', '.join(missing)} not installed; pip install 'dynbench[engines]'" if missing else None

    def prepare(self, net: nn.Module, example: Tensor, threads: int) -> Call:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(_exported(net, example), options, providers=["CPUExecutionProvider"])
        (name,) = (given.name for given in session.get_inputs())

        def call(x: Tensor) -> Tensor:
            (logits,) = session.run(None, {name: x.numpy()})
            return torch.from_numpy(logits)

        return call


def _exported(net: nn.Module, example: Tensor) -> bytes:
    program = torch.onnx.export(net, (example,), dynamo=True, verbose=False)
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
