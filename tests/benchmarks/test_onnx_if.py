"""Layer skipping inside ONNX Runtime: each block's branch in an `If` on its gate, with the gates of an l_net.

Not an executor: torch's FLOP counter cannot look into it, so that no audit could tell what ran. Printed as ratios.
"""

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from dynbench.executors import FoldedBlock, FoldedConv, GatedExecutor, PooledGate, PooledLinear
from dynbench.latency.engines.onnx_runtime import OnnxRuntime
from dynbench.latency.engines.time_engines import TOLERANCE
from dynbench.latency.loop import Call
from tests.benchmarks.turns import DENSITIES, check, dense, describe, in_turns, planted, ratio, say

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
helper: Any = onnx.helper
FLOAT: int = onnx.TensorProto.FLOAT

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter


class Graph:
    """Nodes and weights under construction. Weights stay in the branch that uses them: ONNX Runtime lays out only
    constants of the graph at hand."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        """The name of the operator's result."""
        name = f"{self.prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Tensor) -> str:
        name = f"{self.prefix}w{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(value.contiguous().numpy(), name))
        return name

    def conv(self, x: str, conv: FoldedConv) -> str:
        weights = (self.constant(conv.weight), self.constant(conv.bias))
        return self.add("Conv", x, *weights, strides=conv.stride, pads=(*conv.padding, *conv.padding))

    def pooled(self, x: str, layer: PooledLinear) -> str:
        """(1, C, h, w) -> (1, K)."""
        pooled = self.add("Flatten", self.add("GlobalAveragePool", x))
        return self.add("Gemm", pooled, self.constant(layer.weight), self.constant(layer.bias), transB=1)

    def finish(self, result: str, inputs: Sequence[Any] = ()) -> Any:
        outputs = [helper.make_tensor_value_info(result, FLOAT, None)]
        return helper.make_graph(self.nodes, self.prefix, list(inputs), outputs, self.weights)


def branch(prefix: str, x: str, score: str, block: FoldedBlock) -> Any:
    """`relu(F(x) * S_L + shortcut(x))`."""
    graph = Graph(prefix)
    (second,) = cast("list[FoldedConv]", list(block.rest))
    hidden = graph.add("Relu", graph.conv(x, block.first))
    scaled = graph.add("Mul", graph.conv(hidden, second), score)
    shortcut = x if block.identity else graph.conv(x, cast("FoldedConv", block.shortcut))
    return graph.finish(graph.add("Relu", graph.add("Add", scaled, shortcut)))


def skipped(prefix: str, x: str, block: FoldedBlock) -> Any:
    graph = Graph(prefix)
    shortcut = graph.add("Identity", x) if block.identity else graph.conv(x, cast("FoldedConv", block.shortcut))
    return graph.finish(shortcut if block.identity else graph.add("Relu", shortcut))


def build(executor: GatedExecutor) -> Any:
    """The whole net as one ONNX model for single images."""
    graph, backbone = Graph("main"), executor.backbone
    zero, one = graph.constant(torch.tensor(0.0)), graph.constant(torch.tensor(1.0))
    to_scalar = graph.constant(torch.zeros(0, dtype=torch.int64))
    x = graph.add("Relu", graph.conv("x", backbone.stem_conv))
    for index, (block, gate) in enumerate(zip(backbone.blocks, executor.gates, strict=True)):
        folded = cast("FoldedBlock", block)
        score = graph.add("Clip", graph.pooled(x, cast("PooledGate", gate).scores), zero, one)
        runs = graph.add("Reshape", graph.add("Greater", score, zero), to_scalar)
        then = branch(f"run{index}_", x, score, folded)
        x = graph.add("If", runs, then_branch=then, else_branch=skipped(f"skip{index}_", x, folded))
    given = helper.make_tensor_value_info("x", FLOAT, (1, 3, 32, 32))
    body = graph.finish(graph.pooled(x, backbone.classifier), [given])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def session_of(model: Any) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


@pytest.mark.parametrize("density", DENSITIES)
def test_if(benchmark: BenchmarkFixture, density: float) -> None:
    """Against dense in ONNX Runtime, and our executor against it."""
    subject = planted("l_net", density)
    executor = subject.executor()
    with_if = session_of(build(cast("GatedExecutor", executor)))
    difference = check(with_if, subject, 1, TOLERANCE)
    static = OnnxRuntime().prepare(dense(), subject.images[:1].clone(), torch.get_num_threads())
    calls = {"dense": static, "if": with_if, "own": executor}
    taken = benchmark.pedantic(in_turns, args=(calls, subject.images), rounds=1, iterations=1)
    say(
        describe("l_net", subject),
        [
            f"If: realised {ratio(taken['dense'], taken['if'], subject.predicted)} against dense in ONNX Runtime",
            f"executor: {ratio(taken['dense'], taken['own'], subject.predicted)} against the same",
            f"executor {ratio(taken['if'], taken['own'])} times as fast as If; difference {difference:.1g}",
        ],
    )
