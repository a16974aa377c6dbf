from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from dynbench_methods.lc_net.cost_modes import COST_MODES
from dynbench_methods.lc_net.gates import Gate, GatedBackbone, Salience, leaky_relu1, mean_absolute, relu1
from dynbench_methods.lc_net.method import CNet, LCNet, LNet
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, cross_entropy, linear, relu

from dynbench.backbones import Backbone, ResidualBlock, build_backbone
from dynbench.backbones.weights import save_weights
from dynbench.build import build_model
from dynbench.cost import CostModel, static_costs
from dynbench.method import FromDense, FromFile
from dynbench.stage import Progress, recipe_stage
from dynbench.suite.recipe import Recipe, Sgd
from dynbench.suite.schema import BackboneSpec
from tests.helpers.small import CPU, SHAPE, ask, make_context, make_run, random_images, random_split, small_backbone

RECIPE = Recipe(epochs=1, batch_size=8)
START = Progress(0, 1, 0.0)
FAMILY = (LNet, CNet, LCNet)


def gated(method: type[LCNet] = LCNet, backbone: Backbone | None = None, open_share: float = 0.6) -> GatedBackbone:
    """A model whose gates are open for some images, blocks and channels, and shut for others."""
    model = cast("GatedBackbone", method(method.Config()).build(backbone or small_backbone()))
    torch.manual_seed(11)
    for gate in model.gates:
        for layer in gate.children():
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=3.0)
            nn.init.constant_(layer.bias, open_share - 0.5)
    return model.eval()


def shut(model: GatedBackbone) -> GatedBackbone:
    for parameter in model.gates.parameters():
        nn.init.constant_(parameter, 0.0)
    return model


def blocks_with_input(model: GatedBackbone, x: Tensor) -> Iterator[tuple[ResidualBlock, Gate, Tensor, Tensor]]:
    """(block, gate, input, output) of every block in a forward pass."""
    inputs: list[Tensor] = []
    hooks = [gate.register_forward_hook(lambda m, args, out: inputs.append(args[0].clone())) for gate in model.gates]
    outputs: list[Tensor] = []
    original = ResidualBlock.join

    def join(self: ResidualBlock, residual: Tensor, x: Tensor) -> Tensor:
        outputs.append(original(self, residual, x).clone())
        return outputs[-1].clone()

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(ResidualBlock, "join", join)
        model.run(x)
    for hook in hooks:
        hook.remove()
    for (_, block), gate, given, out in zip(model.backbone.named_blocks(), model.gates, inputs, outputs, strict=True):
        yield block, cast("Gate", gate), given, out


# ReLU-1


def test_relu1() -> None:
    x = torch.tensor([-5, -0.1, 0, 0.3, 1, 1.2, 9])
    torch.testing.assert_close(relu1(x), torch.tensor([0, 0, 0, 0.3, 1, 1, 1]))


@pytest.mark.parametrize("leak", [0.0, 0.01, 0.3])
def test_leaky_relu1(leak: float) -> None:
    x = torch.tensor([-5, -0.1, 0.3, 0.9, 1.2, 9], requires_grad=True)
    y = leaky_relu1(x, leak)
    expected = torch.tensor([-5 * leak, -0.1 * leak, 0.3, 0.9, 1 + 0.2 * leak, 1 + 8 * leak])
    torch.testing.assert_close(y, expected)
    y.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(x.grad, torch.tensor([leak, leak, 1, 1, leak, leak]))


def test_evaluation_is_hard_and_training_leaky() -> None:
    gate = Gate(next(small_backbone().named_blocks())[1], layer=True, channel=True, leak=0.1)
    x = random_images(50, (4, 8, 8)) * 300
    hard, soft = gate.eval()(x), gate.train()(x)
    scores = linear(x.mean((2, 3)), gate.channel.weight, gate.channel.bias)
    assert scores.min() < 0
    assert scores.max() > 1
    torch.testing.assert_close(hard.channel, scores.clamp(0, 1))
    torch.testing.assert_close(soft.channel, leaky_relu1(scores, 0.1))
    assert hard.layer.shape == (50,)
    assert not torch.equal(hard.layer, soft.layer)


def test_gates_start_open() -> None:
    model = LCNet(LCNet.Config()).build(small_backbone()).eval()
    _, saliences = cast("GatedBackbone", model).run(random_images(8))
    assert all(bool((s.layer > 0.5).all() and (s.channel > 0.5).all()) for s in saliences)


def test_evaluating_twice_gives_the_same() -> None:
    model = gated()
    method = LCNet(LCNet.Config())
    trained, split = ask(method, model, batch_size=7), random_split(20)
    first, second = (trained.evaluate(split, COST_MODES) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.correct, other.correct)
        assert np.array_equal(one.macs, other.macs)


# Skipping changes nothing


def bn(x: Tensor, module: nn.Module, keep: Tensor | None = None) -> Tensor:
    assert isinstance(module, nn.BatchNorm2d)
    values = [module.running_mean, module.running_var, module.weight, module.bias]
    mean, var, weight, bias = [v if keep is None else v[keep] for v in values]  # type: ignore[index]
    return batch_norm(x, mean, var, weight, bias, eps=module.eps)


def without_channels(block: ResidualBlock, x: Tensor, salience: Salience) -> Tensor:
    """The block on one image (1, in, h, w), its channels at zero removed from both convolutions."""
    assert salience.channel is not None
    keep = salience.channel[0].nonzero()[:, 0]
    conv2 = cast("nn.Conv2d", block.get_submodule("conv2"))
    h = conv2d(x, block.conv1.weight[keep], stride=block.conv1.stride, padding=block.conv1.padding)
    h = relu(bn(h, block.bn1, keep)) * salience.channel[0, keep][:, None, None]
    h = bn(conv2d(h, conv2.weight[:, keep], stride=conv2.stride, padding=conv2.padding), block.get_submodule("bn2"))
    if "conv3" in block.branch_convs():
        h = bn(block.get_submodule("conv3")(relu(h)), block.get_submodule("bn3"))
    if salience.layer is not None:
        h = h * salience.layer[:, None, None, None]
    return relu(h + block.shortcut(x))


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("method", [CNet, LCNet])
@torch.no_grad()
def test_channels_at_zero_can_be_removed(method: type[LCNet], bottleneck: bool) -> None:
    model = gated(method, small_backbone(bottleneck)).double()
    removed = 0
    for block, gate, given, out in blocks_with_input(model, random_images(6).double()):
        for i in range(len(given)):
            salience = gate(given[i : i + 1])
            zeros = int((salience.channel == 0).sum())
            removed += 0 < zeros < block.mid_channels
            torch.testing.assert_close(
                without_channels(block, given[i : i + 1], salience)[0], out[i], rtol=1e-5, atol=1e-9
            )
    assert removed > 5


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("method", [LNet, LCNet])
@torch.no_grad()
def test_a_skipped_block_is_its_shortcut(method: type[LCNet], bottleneck: bool) -> None:
    model = gated(method, small_backbone(bottleneck), open_share=0.4)
    skipped = executed = 0
    for block, gate, given, out in blocks_with_input(model, random_images(12)):
        alone = relu(block.shortcut(given))
        for i, score in enumerate(gate(given).layer):
            assert torch.equal(out[i], alone[i]) or score > 0
            skipped += bool(score == 0)
            executed += bool(score > 0)
    assert skipped > 3
    assert executed > 3


@torch.no_grad()
def test_open_gates_are_the_backbone_itself() -> None:
    backbone = small_backbone().eval()
    x = random_images(4)
    expected = backbone(x)
    model = shut(gated(backbone=backbone))
    for gate in model.gates:
        for layer in gate.children():
            nn.init.constant_(cast("nn.Linear", layer).bias, 2.0)
    torch.testing.assert_close(model(x), expected)


def test_one_average_pooling_a_block() -> None:
    model = gated()
    pooled = []
    mean = Tensor.mean

    def counting(self: Tensor, *arguments: object, **options: object) -> Tensor:
        pooled.append(self)
        return mean(self, *arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "mean", counting)
        model(random_images(2))
    assert len(pooled) == len(model.gates)


# Cost modes


def expected_macs(model: GatedBackbone, macs: dict[str, int], saliences: list[Salience], image: int, mode: str) -> int:
    """MACs of one image in a cost mode: the table of the three modes, layer by layer; `macs` of the whole layers."""
    total = sum(cost for name, cost in macs.items() if ".conv" not in name.removeprefix("backbone"))
    total += macs["backbone.conv1"]
    for (name, block), salience in zip(model.backbone.named_blocks(), saliences, strict=True):
        runs = salience.layer is None or bool(salience.layer[image] > 0)
        active = block.mid_channels if salience.channel is None else int((salience.channel[image] > 0).sum())
        conv1, conv2, *others = (macs[f"backbone.{name}.{conv}"] for conv in block.branch_convs())
        if mode == "parallel":
            total += conv1
        elif runs:
            total += conv1 if mode == "parallel_cancel" else conv1 // block.mid_channels * active
        if runs:
            total += conv2 // block.mid_channels * active + sum(others)
    return total


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("method", FAMILY)
@torch.no_grad()
def test_the_three_cost_modes(method: type[LCNet], bottleneck: bool) -> None:
    model = gated(method, small_backbone(bottleneck, "B"))
    x = random_images(9)
    costs = CostModel(static_costs(model, SHAPE), CPU)
    macs = {layer.name: layer.macs for layer in costs.layers}
    outputs = method(method.Config()).infer(model, x, COST_MODES)
    _, saliences = model.run(x)
    totals = []
    for point, output in zip(COST_MODES, outputs, strict=True):
        found = costs(output.usage, 9).by_kind.sum(1).tolist()
        assert found == [expected_macs(model, macs, saliences, image, point.name) for image in range(9)]
        totals.append(sum(found))
    assert totals == sorted(totals)
    assert totals[0] < totals[-1] < 9 * sum(cost.macs for cost in costs.layers)
    assert all(torch.equal(output.logits, outputs[0].logits) for output in outputs)


def test_one_block_by_hand() -> None:
    """Block layer1.0: 4 -> 4 channels at 8x8, so 9 * 4 * 4 * 64 MACs a convolution; 1 of 4 channels on."""
    model = shut(gated())
    first = cast("Gate", model.gates[0])
    nn.init.ones_(first.layer.bias)
    first.channel.bias.data[2] = 0.5
    method = LCNet(LCNet.Config())
    whole = 9 * 4 * 4 * 64
    costs = CostModel(static_costs(model, SHAPE), CPU)
    index = {layer.name: i for i, layer in enumerate(costs.layers)}
    expected = {
        "sequential": (whole // 4, whole // 4, 0),
        "parallel_cancel": (whole, whole // 4, 0),
        "parallel": (whole, whole // 4, whole),
    }
    for point, output in zip(COST_MODES, method.infer(model, random_images(1), COST_MODES), strict=True):
        layers = costs(output.usage, 1).by_layer
        names = ("backbone.layer1.0.conv1", "backbone.layer1.0.conv2", "backbone.layer1.1.conv1")
        assert tuple(layers[index[name]] for name in names) == expected[point.name]
        assert layers[index["backbone.layer1.1.conv2"]] == 0


@torch.no_grad()
def test_resnet18_with_everything_skipped() -> None:
    """Strict `parallel` cannot go below stem, every conv1, shortcuts, classifier: 0.253 GMACs, gates not counted."""
    shape = (3, 32, 32)
    model = shut(gated(backbone=build_backbone(BackboneSpec(name="resnet18"), shape, 10)))
    costs = CostModel(static_costs(model, shape), CPU)
    outputs = LCNet(LCNet.Config()).infer(model, random_images(1, shape), COST_MODES)
    spent = {point.name: costs(out.usage, 1).by_kind[0] for point, out in zip(COST_MODES, outputs, strict=True)}
    stem, classifier, shortcuts = 27 * 64 * 1024, 5120, 3 * 64 * 128 * 256
    first = 9 * 1024 * (2 * 64**2) + sum(
        9 * (1024 >> 2 * i) * (c * c // 2 + c * c) for i, c in ((1, 128), (2, 256), (3, 512))
    )
    backbone, shortcut, control = spent["parallel"].tolist()
    assert backbone + shortcut == stem + classifier + shortcuts + first
    assert backbone + shortcut == pytest.approx(0.253e9, rel=0.003)
    assert spent["sequential"][:2].sum() == spent["parallel_cancel"][:2].sum() == stem + classifier + shortcuts
    channels = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    assert control == sum(before * (mid + 1) for before, mid in channels)
    assert control == pytest.approx(0.53e6, rel=0.01)


# Training


@pytest.mark.parametrize(("l1_layer", "l1_channel"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (0.5, 0.25)])
def test_loss(l1_layer: float, l1_channel: float) -> None:
    model = gated().train()
    method = LCNet(LCNet.Config(l1_layer=l1_layer, l1_channel=l1_channel))
    recipe = RECIPE.model_copy(update={"label_smoothing": 0.1})
    x, y = random_images(8), torch.arange(8) % 4
    loss = method.loss(model, x, y, START, recipe)
    logits, saliences = model.run(x)
    layers = sum(s.layer.abs().sum() / 8 for s in saliences) / 4
    channels = sum(s.channel.abs().sum() / s.channel.numel() for s in saliences) / 4
    expected = cross_entropy(logits, y, label_smoothing=0.1) + l1_layer * layers + l1_channel * channels
    torch.testing.assert_close(loss, expected)
    assert any(bool((s.layer < 0).any()) for s in saliences)  # or the absolute value would not be tested


def test_mean_absolute_without_gates() -> None:
    assert mean_absolute([None, None]) == 0


@pytest.mark.parametrize("method", FAMILY)
def test_gate_lr_reaches_only_the_gates(method: type[LCNet]) -> None:
    recipe = Recipe(epochs=1, optimizer=Sgd(name="sgd", lr=0.5))
    configured = method(method.Config(gate_lr=0.003))
    model = gated(method)
    optimizer = recipe_stage(configured, recipe).optimizer(model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (0.003 if name.startswith("gates.") else 0.5), name
    assert len(rates) == len(list(model.parameters()))


def test_only_the_gates_that_a_method_has() -> None:
    kinds = {
        method.name: {name.split(".")[2] for name in gated(method).state_dict() if "gates" in name} for method in FAMILY
    }
    assert kinds == {"l_net": {"layer"}, "c_net": {"channel"}, "lc_net": {"layer", "channel"}}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (LNet, {"l1_channel": 0.1}),
        (CNet, {"l1_layer": 0.1}),
        (LCNet, {"init": "weights.pt"}),
        (LCNet, {"init": "dense", "init_epochs": 3}),
        (LCNet, {"l1_layer": -1}),
        (LCNet, {"leak": 1.0}),
        (LCNet, {"channel_group": 0}),
        (LNet, {"channel_group": 8}),
    ],
)
def test_parameters_that_make_no_sense(method: type[LCNet], params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        method.Config.model_validate(params)


def test_channels_must_divide_into_groups() -> None:
    assert LCNet(LCNet.Config(channel_group=2)).unsupported(small_backbone()) is None
    reason = LCNet(LCNet.Config(channel_group=7)).unsupported(small_backbone())
    assert reason == "layer1.0 has channels that do not divide into groups of 7"


def test_where_weights_come_from() -> None:
    assert LCNet(LCNet.Config()).start() is None
    assert LCNet(LCNet.Config(init="dense")).start() == FromDense()
    assert LCNet(LCNet.Config(init="w.pt", init_epochs=160)).start() == FromFile("w.pt", 160)


@pytest.mark.parametrize("source", ["dense", "file"])
def test_a_model_starts_from_weights(tmp_path: Path, source: str) -> None:
    from dynbench.data import load_data
    from dynbench.plan.run import Start

    data = load_data(make_run(LCNet, RECIPE).data)
    trained = build_backbone(BackboneSpec(name="resnet8", width=0.25), data.shape, data.num_classes)
    context = make_context(tmp_path)
    path = context.weights("dense-run") if source == "dense" else tmp_path / "w.safetensors"
    save_weights(trained, path)
    start = Start(run_id="dense-run") if source == "dense" else Start(file=str(path), sha256="0", epochs=3)
    run = make_run(LCNet, RECIPE).model_copy(update={"start": start})
    model = cast("GatedBackbone", build_model(run, LCNet(LCNet.Config()), data, context))
    for key, value in trained.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value), key
