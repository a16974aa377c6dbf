"""Static engines that a suite may name. Each is imported when it is timed: what reads a suite needs no torch."""

ENGINES = {
    "torch.compile": "dynbench.latency.engines.compiled:TorchCompile",
    "onnxruntime": "dynbench.latency.engines.onnx_runtime:OnnxRuntime",
}
"""`module:class` of each, by its name."""
