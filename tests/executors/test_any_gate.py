"""Anyone's gates go through the native call: the logits of masked PyTorch, and exactly the MACs that are accounted."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dynbench.backbones import build_backbone
from dynbench.evaluation.audit import audit
from dynbench.executors import Decision, FoldedBackbone, GatedExecutor, PooledGate, PooledLinear, module_by_module
from dynbench.kernels.cpu import build, operators
from dynbench.suite.schema import BackboneSpec
from tests.helpers.any_gate import KINDS, AnyGate, FreelyGated
from tests.helpers.planted import estimate_statistics, smooth_images
from tests.helpers.small import ask, random_images, small_backbone

NETS = {"resnet8": (1, 8, 8), "resnet20": (3, 32, 32)}
native = pytest.mark.skipif(not operators.available(), reason=str(build.why_not()))


def images_for(backbone: str) -> Tensor:
    """24 digits, or as many blots of CIFAR's size."""
    if backbone == "resnet8":
        return torch.tensor(load_digits().images[:24], dtype=torch.float32)[:, None] / 8 - 1
    return smooth_images(24)


def gated(backbone: str, kind: str) -> tuple[AnyGate, FreelyGated, Tensor]:
    """A method with gates of that kind, its model with random weights, and images."""
    torch.manual_seed(3)
    method, images = type("OneKind", (AnyGate,), {"kind": KINDS[kind]})(AnyGate.Config()), images_for(backbone)
    model = method.build(build_backbone(BackboneSpec(name=backbone), NETS[backbone], 10))
    estimate_statistics(model, images)
    model.stir(images)
    return method, model, images


def executed(executor: nn.Module, image: Tensor) -> tuple[int, Tensor]:
    with FlopCounterMode(display=False) as counter:
        logits = executor(image)
    return counter.get_total_flops() // 2, logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backbone", NETS)
@torch.no_grad()
def test_it_runs_what_masked_pytorch_computes(backbone: str, kind: str) -> None:
    method, model, images = gated(backbone, kind)
    _, layers, channels = model.run(images)
    assert len(torch.cat([*(layer[:, None] for layer in layers), *channels], 1).unique(dim=0)) > 2  # images differ
    trained = ask(method, model, NETS[backbone])
    costs, points = trained.costs, method.points(model)
    for point, expected in zip(points, method.infer(model, images, points), strict=True):
        executor = method.executor(model, point).eval()
        accounted = costs(expected.usage, len(images)).by_kind.sum(1).tolist()
        for index, image in enumerate(images.split(1)):
            macs, logits = executed(executor, image)
            assert macs == accounted[index]
            torch.testing.assert_close(logits, expected.logits[index : index + 1], rtol=1e-3, atol=1e-4)
            with module_by_module():
                modules, one_by_one = executed(executor, image)
            assert modules == macs
            torch.testing.assert_close(one_by_one, logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(executor(images), expected.logits, rtol=1e-3, atol=1e-4)
    assert [one.images for one in audit(trained, images[:8], points)] == [8] * len(points)


@native
def test_it_is_one_native_call() -> None:
    method, model, images = gated("resnet20", "both, sigmoid, two layers")
    executor = method.executor(model, method.points(model)[0])
    called: list[str] = []
    for name, module in executor.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.append(name))
    executor(images[:1])
    assert called == [""]
    with module_by_module():
        executor(images[:1])
    assert "gates.0" in called


@pytest.mark.parametrize("top", [None, 1, 3, 9])
@pytest.mark.parametrize("above", [-math.inf, 0.0, 0.4])
@pytest.mark.parametrize("activation", operators.ACTIVATIONS)
@native
def test_scores_decide_natively_as_in_pytorch(activation: str, above: float, top: int | None) -> None:
    decision = Decision(activation, above, top)
    scores = torch.cat([random_images(1, (5, 1, 1)).flatten(1), torch.tensor([[1.0, 1.0, -2.0, 0.0]])], 1)
    runs, values = decision(scores)
    active, worth = operators.active(scores, 0, 1, activation, above, top)
    assert active.tolist() == runs[0].nonzero()[:, 0].tolist()
    torch.testing.assert_close(worth[0], values[runs])
    assert [decision.of_one(score) is not None for score in scores[0].tolist()] == (values > above)[0].tolist()


def test_of_equal_scores_the_first_run() -> None:
    runs, _ = Decision("identity", top=2)(torch.tensor([[1.0, 3.0, 1.0, 1.0]]))
    assert runs.tolist() == [[True, True, False, False]]


def test_a_score_that_is_no_number_runs_nothing() -> None:
    scores = torch.tensor([[math.nan, 1.0, 2.0]])
    assert Decision("identity")(scores)[0].tolist() == [[False, True, True]]
    if operators.available():
        assert operators.active(scores, above=-math.inf)[0].tolist() == [1, 2]
        assert operators.active(scores, above=-math.inf, top=2)[0].tolist() == [1, 2]


def linear(outputs: int) -> PooledLinear:
    return PooledLinear([nn.Linear(4, outputs)], ("gate",))


def test_gates_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Decision("identity", scales=True)
    with pytest.raises(ValueError, match="at least one score"):
        Decision("sigmoid", top=0)
    with pytest.raises(ValueError, match="decides about the layer"):
        PooledGate(linear(1))


def test_a_gate_for_each_block_or_none() -> None:
    backbone = FoldedBackbone(small_backbone().eval())
    with pytest.raises(ValueError, match="shorter"):
        GatedExecutor(backbone, [None])
    image = random_images(1)
    assert torch.equal(GatedExecutor(backbone, [None] * 4)(image), backbone(image))


def test_a_block_without_a_shortcut_has_no_layer_gate() -> None:
    mobilenet = FoldedBackbone(build_backbone(BackboneSpec(name="mobilenet_v2", width=0.25), (3, 64, 64), 4).eval())
    gate = PooledGate(linear(1), layer=Decision("sigmoid", above=0.5))
    with pytest.raises(ValueError, match="cannot be skipped"):
        GatedExecutor(mobilenet, [gate] * len(mobilenet.blocks))
