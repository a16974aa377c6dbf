"""Executors really skip, and the audit notices when they do not."""

from collections.abc import Sequence

import pytest
import torch
from dynbench_methods.dense import Dense
from dynbench_methods.lc_net.gates import GatedBackbone
from dynbench_methods.lc_net.method import COST_MODES, CNet, LCNet, LNet
from torch import Tensor, nn

from dynbench.backbones import Backbone, build_backbone
from dynbench.cost import evaluating
from dynbench.errors import AuditFailed
from dynbench.evaluation.audit import audit
from dynbench.evaluation.trained import Trained
from dynbench.executors import FoldedConv
from dynbench.kernels.cpu import operators as native
from dynbench.kernels.cpu.build import why_not
from dynbench.method import LayerUsage, Method, Output, Point
from dynbench.suite.schema import BackboneSpec
from tests.helpers.planted import plant
from tests.helpers.small import ask


@pytest.fixture(params=["kernels", "pytorch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Executors on our kernels, where they can be had, and on plain PyTorch."""
    if request.param == "pytorch":
        monkeypatch.setattr(native, "available", lambda: False)
    elif not native.available():
        pytest.skip(str(why_not()))
    return str(request.param)


METHODS = (Dense, LNet, CNet, LCNet)
BACKBONES = {
    "resnet8": BackboneSpec(name="resnet8"),
    "resnet50": BackboneSpec(name="resnet50", width=0.125),
    "torchvision resnet18": BackboneSpec(name="resnet18", width=0.125, stem="imagenet"),
}
MOBILENET = {"mobilenet_v2": BackboneSpec(name="mobilenet_v2", width=0.125)}
CPU = torch.device("cpu")


def trained(method: Method, backbone: str, seed: int = 0) -> nn.Module:
    """A model as if trained: running statistics moved, gates that open and close with the image."""
    torch.manual_seed(seed)
    model = method.build(build_backbone((BACKBONES | MOBILENET)[backbone], (3, 16, 16), 10))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        for _ in range(5):
            model.train()(images(32, seed))
    if isinstance(model, GatedBackbone):
        plant(model.eval(), images(32, seed), 0.5)
    return model.eval()


def images(count: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(count, 1, 1, 1, generator=generator) * 3
    return torch.randn(count, 3, 16, 16, generator=generator) * scale


def make(kind: type[Method]) -> Method:
    return kind(kind.Config())


def asked(method: Method, model: nn.Module) -> Trained:
    return ask(method, model, (3, 16, 16))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("kind", METHODS)
def test_executed_equals_accounted_in_every_mode(kind: type[Method], backbone: str, engine: str) -> None:
    method = make(kind)
    model = trained(method, backbone)
    points = method.points(model)
    results = audit(asked(method, model), images(8), points)
    assert [result.point for result in results] == [point.name for point in points]
    assert all(result.images == 8 and result.difference < 1e-5 for result in results)


@pytest.mark.parametrize("kind", METHODS)
def test_executed_equals_accounted_on_inverted_residuals(kind: type[Method]) -> None:
    """In float64: planted gates are closer to zero here than fp32 rounds."""
    method = make(kind)
    model = trained(method, "mobilenet_v2")
    subject = asked(method, model)
    model.double()
    results = audit(subject, images(6).double(), subject.points)
    assert all(result.images == 6 and result.difference < 1e-9 for result in results)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("kind", METHODS)
def test_a_batch_gives_what_its_images_give(kind: type[Method], backbone: str, engine: str) -> None:
    method = make(kind)
    model = trained(method, backbone)
    x = images(12)
    with evaluating(model):
        for point in method.points(model):
            executor = method.executor(model, point)
            assert executor is not None
            (expected,) = method.infer(model, x, [point])
            torch.testing.assert_close(executor(x), expected.logits, rtol=1e-4, atol=1e-4)
            alone = torch.cat([executor(image[None]) for image in x])
            torch.testing.assert_close(executor(x), alone, rtol=1e-4, atol=1e-4)


def test_the_planted_gates_open_and_close() -> None:
    """Otherwise the tests above would say nothing."""
    model = trained(make(LCNet), "resnet8")
    assert isinstance(model, GatedBackbone)
    with evaluating(model):
        _, saliences = model.run(images(32))
    layers = torch.stack([s.layer for s in saliences if s.layer is not None])
    channels = torch.cat([s.channel for s in saliences if s.channel is not None], dim=1)
    assert 0.1 < float((layers > 0).float().mean()) < 0.9
    assert 0.1 < float((channels > 0).float().mean()) < 0.9


@pytest.mark.parametrize("point", COST_MODES, ids=lambda point: point.name)
@pytest.mark.parametrize("kind", [LNet, CNet, LCNet])
def test_skipped_weights_are_not_read(kind: type[LCNet], point: Point, engine: str) -> None:
    """Overwritten with NaN, they change nothing: not channels, and of skipped blocks not even the whole branch."""
    method = make(kind)
    model = trained(method, "resnet8")
    assert isinstance(model, GatedBackbone)
    poisoned = 0
    with evaluating(model):
        for image in images(6).split(1):
            executor = method.executor(model, point)
            assert executor.backbone.blocks[0].first.native == (engine == "kernels")
            before = method.executor(model, point)(image)
            _, saliences = model.run(image)
            for block, salience in zip(executor.backbone.blocks, saliences, strict=True):
                poisoned += poison(block.first, block.rest[0], salience, point.name)
            torch.testing.assert_close(executor(image), before, rtol=0, atol=0)
    assert poisoned > 1000


def poison(first: FoldedConv, second: FoldedConv, salience: object, mode: str) -> int:
    """Overwrite what a mode may not read with NaN; how many weights that is."""
    layer, channel = salience.layer, salience.channel  # type: ignore[attr-defined]
    runs = layer is None or float(layer) > 0
    skipped = torch.full((len(first.weight),), not runs)
    if channel is not None:
        skipped |= channel[0] <= 0
    second.weight[:, skipped] = float("nan")
    if second.kernel is not None:
        second.kernel.packed[:, skipped] = float("nan")
    count = second.weight[:, skipped].numel()
    if mode == "sequential" or (mode == "parallel_cancel" and not runs):
        first.weight[skipped] = float("nan")
        first.bias[skipped] = float("nan")
        if first.kernel is not None and (channel is not None or not runs):  # listed outputs go by `weight`
            first.kernel.packed.fill_(float("nan"))
        count += first.weight[skipped].numel()
    return count


def test_channels_in_groups_are_skipped_together(engine: str) -> None:
    method = LCNet(LCNet.Config(channel_group=4))
    model = trained(method, "resnet8")
    x = images(8)
    results = audit(asked(method, model), x, method.points(model))
    assert all(result.difference < 1e-5 for result in results)
    with evaluating(model):
        _, saliences = model.run(x)
        for salience in saliences:
            groups = salience.channel.unflatten(1, (-1, 4))
            assert bool((groups == groups[:, :, :1]).all())
        executor = method.executor(model, Point("sequential"))
        torch.testing.assert_close(executor(x), model(x), rtol=1e-4, atol=1e-4)


class Whole(nn.Module):
    """Runs the model whole, masks and all."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


class MaskOnly(LCNet):
    """Multiplies by masks and calls it a saving."""

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return Whole(model)


class OtherLogits(Dense):
    """Fast, exact in its MACs, and wrong."""

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        executor = super().executor(model, point)
        executor.stem_conv.bias += 0.1
        return executor


class UnderReports(Dense):
    """Says that half of a layer's outputs did not run."""

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        half = torch.full((len(x),), 0.5, dtype=torch.float64)
        usage = {"layer2.0.conv2": LayerUsage(outputs=half)}
        return [Output(output.logits, usage) for output in super().infer(model, x, points)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (MaskOnly, "were executed and"),
        (OtherLogits, "logits differ"),
        (UnderReports, "layer layer2.0.conv2: .* executed, .* accounted"),
    ],
)
def test_liars_are_caught(kind: type[Method], message: str) -> None:
    method = make(kind)
    model = trained(method, "resnet8")
    with pytest.raises(AuditFailed, match=message):
        audit(asked(method, model), images(4), method.points(model))


class RoundsOtherwise(Dense):
    """In fp32, and only there, it does more on the images that start with 7."""

    class Executor(Whole):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype == torch.float32 and float(x[0, 0, 0, 0]) == 7:
                self.model(x)
            return super().forward(x)

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(model)


def test_one_image_may_be_decided_in_float64_and_no_more() -> None:
    method = make(RoundsOtherwise)
    model = trained(method, "resnet8")
    x = images(4)
    x[1, 0, 0, 0] = 7
    (result,) = audit(asked(method, model), x, method.points(model))
    assert result.images == 4
    x[2, 0, 0, 0] = 7
    with pytest.raises(AuditFailed, match="image 2"):
        audit(asked(method, model), x, method.points(model))


class OnlyFloat32(RoundsOtherwise):
    class Executor(RoundsOtherwise.Executor):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype == torch.float64:
                raise TypeError("its kernels know float32")
            return super().forward(x)


def test_what_cannot_do_float64_is_told_what_was_found() -> None:
    method = make(OnlyFloat32)
    x = images(4)
    x[1, 0, 0, 0] = 7
    with pytest.raises(AuditFailed, match=r"image 1: \d+ MACs were executed and \d+ accounted"):
        audit(asked(method, model := trained(method, "resnet8")), x, method.points(model))


class Simulated(Dense):
    def executor(self, model: nn.Module, point: Point) -> nn.Module | None:
        return None


def test_without_an_executor_nothing_is_audited() -> None:
    method = make(Simulated)
    model = trained(method, "resnet8")
    (result,) = audit(asked(method, model), images(4), method.points(model))
    assert result.images == 0


def test_folding_leaves_the_model_alone() -> None:
    method = make(Dense)
    model = trained(method, "resnet8")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert isinstance(model, Backbone)
    method.executor(model, Point())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
