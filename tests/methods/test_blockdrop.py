"""BlockDrop: its policy gradient against hand computations, its two stages, and an executor that really drops."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
import torch
from dynbench_methods.blockdrop.losses import (
    bounded,
    curriculum_loss,
    decided_blocks,
    entropy,
    joint_loss,
    log_probability,
    only_last,
    reward,
)
from dynbench_methods.blockdrop.method import BlockDrop
from dynbench_methods.blockdrop.net import BlockDropExecutor, BlockDropNet, run_kept
from dynbench_methods.blockdrop.policy import PolicyNet
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu
from torch.utils.flop_counter import FlopCounterMode

from dynbench.backbones import Backbone, build_backbone
from dynbench.backbones.residual import BasicBlock, ResNet
from dynbench.backbones.weights import save_weights
from dynbench.cost import KINDS, CostModel, dense_macs, evaluating, static_costs
from dynbench.evaluation.audit import audit
from dynbench.execute import execute
from dynbench.method import FromDense, FromFile, Point
from dynbench.plan.run import Run, Start
from dynbench.record.folder import ResultsFolder
from dynbench.stage import Progress, Stage
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import BackboneSpec
from tests.helpers.small import CPU, SHAPE, ask, make_context, make_run, random_images, small_backbone, stirred
from tests.train.test_resume import Interrupter, assert_same_results

RECIPE = Recipe(epochs=1, batch_size=8)
BACKBONES = [(False, "A"), (False, "B"), (True, "A"), (True, "B")]


def make(**params: object) -> BlockDrop:
    return BlockDrop(BlockDrop.Config.model_validate(params))


def net_of(bottleneck: bool = False, option: str = "A") -> BlockDropNet:
    """A small model whose policy keeps each block for half of `random_images(12)`, and for other ones each."""
    torch.manual_seed(3)
    net = cast("BlockDropNet", make().build(small_backbone(bottleneck, option)))
    stirred(net.policy.net)
    return planted(net.eval(), random_images(12))


@torch.no_grad()
def planted(net: BlockDropNet, x: Tensor) -> BlockDropNet:
    """The model with scores moved so that half of the images `x` keep each block."""
    nn.init.normal_(net.policy.net.linear.weight)
    ordered = net.policy(x).sort(dim=0).values
    net.policy.net.linear.bias -= (ordered[len(x) // 2 - 1] + ordered[len(x) // 2]) / 2
    return net


def kept(net: BlockDropNet, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.policy(x) >= 0


# The pieces of the policy gradient


def test_probabilities_are_bounded() -> None:
    p = bounded(torch.tensor([[-100.0, 0.0, 100.0]]), 0.8)
    torch.testing.assert_close(p, torch.tensor([[0.2, 0.5, 0.8]]))
    s = torch.tensor([0.9])
    torch.testing.assert_close(bounded(s.logit(), 0.7), torch.tensor([0.7 * 0.9 + 0.3 * 0.1]))


def test_probabilities_are_fp32_even_of_bf16_scores() -> None:
    assert bounded(torch.zeros(1, 2, dtype=torch.bfloat16), 0.8).dtype == torch.float32


def test_reward_by_hand() -> None:
    keep = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    right = torch.tensor([True, True, True, False])
    assert reward(right, keep, 5.0).tolist() == [0.0, 0.75, 1.0, -5.0]


def test_log_probability_and_entropy_are_torchs() -> None:
    p = torch.tensor([[0.2, 0.35], [0.8, 0.5]])
    keep = torch.tensor([[True, False], [False, True]])
    expected = torch.distributions.Bernoulli(p)
    torch.testing.assert_close(log_probability(p, keep), expected.log_prob(keep.float()))
    torch.testing.assert_close(entropy(p), expected.entropy())


ALPHA = 0.8
WORTH = {(0, 0): -1.0, (0, 1): 0.75, (1, 0): -1.0, (1, 1): 0.0}
"""A toy of two blocks: what each pair of decisions is worth. The second block is needed."""


def exact_gradient(scores: Tensor) -> Tensor:
    """Gradient of the expected worth with respect to the two scores, all four outcomes enumerated."""
    scores = scores.clone().requires_grad_()
    s = scores.sigmoid()
    p = ALPHA * s + (1 - ALPHA) * (1 - s)
    chances = [
        torch.stack([p[i] if one else 1 - p[i] for i, one in enumerate(u)]).prod() * worth for u, worth in WORTH.items()
    ]
    torch.stack(chances).sum().backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    return scores.grad


def test_the_mean_policy_gradient_is_that_of_the_expected_reward() -> None:
    """Of many samples, with the greedy decision as baseline: dropping it in changes the mean by nothing."""
    torch.manual_seed(5)
    scores, samples = torch.tensor([0.4, -0.3]), 200_000
    leaf = scores.clone().requires_grad_()
    p = bounded(leaf.expand(samples, 2), ALPHA)
    keep = torch.bernoulli(p.detach()).bool()
    table = torch.tensor([[WORTH[0, 0], WORTH[0, 1]], [WORTH[1, 0], WORTH[1, 1]]])
    advantage = table[keep[:, 0].long(), keep[:, 1].long()] - WORTH[1, 0]
    curriculum_loss(p, keep, advantage, decided=2, beta=0.0).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    expected = exact_gradient(scores)
    torch.testing.assert_close(-leaf.grad, expected, rtol=0.05, atol=0.002)
    assert expected[0] < 0 < expected[1]  # drop the first, keep the second


def test_curriculum_loss_by_hand() -> None:
    p = torch.tensor([[0.3, 0.6], [0.5, 0.8]])
    keep, advantage = torch.tensor([[True, False], [True, True]]), torch.tensor([0.5, -2.0])
    both = -(0.5 * (p[0, 0].log() + (1 - p[0, 1]).log()) - 2 * (p[1, 0].log() + p[1, 1].log()))
    information = torch.distributions.Bernoulli(p).entropy()
    torch.testing.assert_close(curriculum_loss(p, keep, advantage, 2, 0.1), (both - 0.1 * information.sum()) / 2)
    last = -(0.5 * (1 - p[0, 1]).log() - 2 * p[1, 1].log())
    torch.testing.assert_close(curriculum_loss(p, keep, advantage, 1, 0.1), (last - 0.1 * information[:, 1].sum()) / 2)


def test_joint_loss_by_hand() -> None:
    p = torch.tensor([[0.3, 0.6], [0.5, 0.8]])
    keep, advantage = torch.tensor([[True, False], [True, True]]), torch.tensor([0.5, -2.0])
    logits, y = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 1])
    policy = -(0.5 * (p[0, 0].log() + (1 - p[0, 1]).log()) - 2 * (p[1, 0].log() + p[1, 1].log()))
    torch.testing.assert_close(joint_loss(p, keep, advantage, logits, y), policy + cross_entropy(logits, y))


# The curriculum


def test_one_block_more_each_epoch_as_published() -> None:
    assert [decided_blocks(5, epoch, span=5) for epoch in range(8)] == [1, 2, 3, 4, 5, 5, 5, 5]


@pytest.mark.parametrize("blocks", [1, 4, 15, 54])
@pytest.mark.parametrize("span", [1, 3, 7, 20])
def test_a_short_curriculum_still_reaches_all_blocks(blocks: int, span: int) -> None:
    counts = [decided_blocks(blocks, epoch, span) for epoch in range(span)]
    assert counts == sorted(counts)
    assert counts[0] >= 1
    assert counts[-1] == blocks
    assert max(b - a for a, b in itertools.pairwise([0, *counts])) <= -(-blocks // span)


def test_undecided_blocks_are_kept() -> None:
    keep = torch.zeros(2, 4).bool()
    assert only_last(keep, 1).tolist() == [[True, True, True, False]] * 2
    assert only_last(keep, 4).tolist() == keep.tolist()


def seen_decisions(method: BlockDrop, net: BlockDropNet, stage: Stage, epoch: int) -> list[Tensor]:
    """The decisions that the loss asks the backbone about, sampled and greedy, in its order."""
    seen: list[Tensor] = []

    def watching(backbone: Backbone, x: Tensor, keep: Tensor) -> Tensor:
        seen.append(keep)
        return run_kept(backbone, x, keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dynbench_methods.blockdrop.method.run_kept", watching)
        stage.loss(net.train(), random_images(64), torch.arange(64) % 4, Progress(epoch, stage.epochs, 0.0))
    return seen


def test_the_policy_takes_over_from_the_last_block_on() -> None:
    method = make(curriculum_epochs=6)
    curriculum, joint = method.stages(RECIPE)
    net = net_of()
    for epoch, decided in enumerate([1, 2, 3, 4, 4, 4]):
        sampled, best = seen_decisions(method, net, curriculum, epoch)
        assert torch.equal(best, only_last(kept(net, random_images(64)), decided))
        assert bool(sampled[:, : 4 - decided].all())
        assert not bool(sampled[:, 4 - decided :].all(0).any())
    best, sampled = seen_decisions(method, net, joint, 0)
    assert torch.equal(best, kept(net, random_images(64)))
    assert not bool(sampled.all(0).any())


def test_the_loss_of_both_stages_is_the_published_one() -> None:
    """Recomputed from the decisions that were sampled, with a backbone of our own composing."""
    method = make(curriculum_epochs=4, gamma=2.0, gamma_joint=7.0, beta=0.3)
    x, y = random_images(12), torch.arange(12) % 4
    for stage, gamma in zip(method.stages(RECIPE), (2.0, 7.0), strict=True):
        net = net_of().train()
        torch.manual_seed(9)
        found = stage.loss(net, x, y, Progress(3, 4, 0.0))
        net.backbone.train(stage.name == "joint")
        scores = net.policy(x)
        p = 0.8 * scores.sigmoid() + 0.2 * (1 - scores.sigmoid())
        torch.manual_seed(9)
        keep = torch.bernoulli(p).bool()
        logits = [composed(net.backbone, x, u) for u in (keep, scores >= 0)]
        worth = [
            torch.where(one.argmax(1) == y, 1 - (u.sum(1) / 4) ** 2, -gamma)
            for one, u in zip(logits, (keep, scores >= 0), strict=True)
        ]
        assert not torch.equal(*worth)
        log_pi = torch.distributions.Bernoulli(p).log_prob(keep.float()).sum(1)
        policy = -((worth[0] - worth[1]) * log_pi).sum()
        if stage.name == "joint":
            expected = policy + cross_entropy(logits[0], y)
        else:
            expected = (policy - 0.3 * torch.distributions.Bernoulli(p).entropy().sum()) / 12
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def composed(backbone: Backbone, x: Tensor, keep: Tensor) -> Tensor:
    x = relu(backbone.bn1(backbone.conv1(x)))
    for index, (_, block) in enumerate(backbone.named_blocks()):
        beside = block.shortcut(x)
        mask = keep[:, index].float()[:, None, None, None]
        x = mask * relu(block.rest(block.first(x)) + beside) + (1 - mask) * beside
    return backbone.head(x)


# Dropping


@pytest.mark.parametrize(("bottleneck", "option"), BACKBONES)
@torch.no_grad()
def test_a_dropped_block_is_its_shortcut_alone(bottleneck: bool, option: str) -> None:
    backbone = small_backbone(bottleneck, option).double().eval()
    x = random_images(9).double()
    keep = torch.rand(9, 4, generator=torch.Generator().manual_seed(2)) < 0.5
    keep[0], keep[1] = True, False
    found = run_kept(backbone, x, keep)
    torch.testing.assert_close(found, composed(backbone, x, keep))
    torch.testing.assert_close(found[0], backbone(x)[0])
    if option == "B":
        before = backbone.get_submodule("layer1")(backbone.stem(x))
        assert bool((backbone.get_submodule("layer2.0.shortcut")(before) < 0).any())


@pytest.mark.parametrize(("bottleneck", "option"), BACKBONES)
def test_usage_is_what_was_kept(bottleneck: bool, option: str) -> None:
    net = net_of(bottleneck, option)
    x = random_images(12)
    costs = CostModel(static_costs(net, SHAPE), CPU)
    with evaluating(net):
        (output,) = make().infer(net, x, [Point()])
    always = sum(c.macs for c in costs.layers if ".conv" not in c.name.removeprefix("backbone") or c.kind == "control")
    always += next(c.macs for c in costs.layers if c.name == "backbone.conv1")
    branch = [
        sum(c.macs for c in costs.layers if c.name.startswith(f"backbone.{name}.conv"))
        for name, _ in net.backbone.named_blocks()
    ]
    keep = kept(net, x)
    expected = [always + sum(m for m, one in zip(branch, row, strict=True) if one) for row in keep.tolist()]
    assert costs(output.usage, 12).by_kind.sum(1).tolist() == expected
    assert len(set(expected)) > 3


@pytest.mark.parametrize(("bottleneck", "option"), BACKBONES)
def test_the_executor_drops_and_is_audited(bottleneck: bool, option: str) -> None:
    method, net = make(), net_of(bottleneck, option)
    x = random_images(12)
    assert kept(net, x).float().mean(0).tolist() == [0.5] * 4
    (result,) = audit(ask(method, net), x, method.points(net))
    assert result.images == 12
    assert result.difference < 1e-5
    with evaluating(net):
        (expected,) = method.infer(net, x, [Point()])
        executor = method.executor(net, Point())
        torch.testing.assert_close(executor(x), expected.logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_weights_of_dropped_blocks_are_not_read() -> None:
    net, poisoned = net_of(bottleneck=True, option="B"), 0
    for image in random_images(6).split(1):
        before = BlockDropExecutor(net).eval()(image)
        executor = BlockDropExecutor(net).eval()
        for block, one in zip(executor.backbone.blocks, kept(net, image)[0].tolist(), strict=True):
            for part in (block.first, *block.rest) if not one else ():
                part.weight.fill_(float("nan"))
                part.bias.fill_(float("nan"))
                part.to("cpu")
                part.kernel = part._make_kernel()  # packs the weights again
                poisoned += 1
        torch.testing.assert_close(executor(image), before, rtol=0, atol=0)
    assert poisoned > 10


@torch.no_grad()
def test_the_host_reads_the_decisions_once() -> None:
    net, reads = net_of(), []
    original = Tensor.cpu

    def reading(self: Tensor) -> Tensor:
        reads.append(self.shape)
        return original(self)

    executor = BlockDropExecutor(net).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "cpu", reading)
        executor(random_images(5))
    assert reads == [(5, 4)]


# The policy network and what it costs


@pytest.mark.parametrize(
    ("name", "blocks", "macs"), [("resnet32", 15, 68_862_592), ("resnet110", 54, 252_887_680), ("resnet18", 8, None)]
)
def test_the_policy_is_counted_as_control(name: str, blocks: int, macs: int | None) -> None:
    shape = (3, 32, 32)
    backbone = build_backbone(BackboneSpec(name=name), shape, 10)
    model = make().build(backbone)
    spent = {kind: sum(c.macs for c in static_costs(model, shape) if c.kind == kind) for kind in KINDS}
    assert spent["backbone"] + spent["shortcut"] == dense_macs(backbone) == (macs or dense_macs(backbone))
    resnet8 = 1024 * 9 * (3 * 16 + 2 * 16**2) + 256 * 9 * (16 * 32 + 32**2) + 64 * 9 * (32 * 64 + 64**2)
    assert spent["control"] == resnet8 + 64 * blocks


def test_large_images_get_a_smaller_look() -> None:
    """A ResNet-10 on the pooled image; its projections are control too, and its executor does the same."""
    shape = (3, 64, 64)
    torch.manual_seed(1)
    net = BlockDropNet(ResNet(BasicBlock, ((4, 1), (8, 1)), shape, 5, "B"))
    stirred(net.policy.net)
    costs = static_costs(net, shape)
    with FlopCounterMode(display=False) as counter, evaluating(net):
        scores = net.policy(random_images(1, shape))
    control = [cost for cost in costs if cost.kind == "control"]
    assert scores.shape == (1, 2)
    assert sum(cost.macs for cost in control) == counter.get_total_flops() // 2
    assert next(c.macs for c in control if c.name == "policy.net.conv1") == 16 * 16 * 49 * 3 * 64
    assert next(c.macs for c in control if c.name.endswith("layer1.0.conv1")) == 8 * 8 * 9 * 64 * 64
    planted(net.eval(), random_images(4, shape))
    (result,) = audit(ask(make(), net, shape), random_images(4, shape), [Point()])
    assert result.difference < 1e-5


def test_the_backbone_is_the_one_of_that_name() -> None:
    class Two(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.policy = small_backbone(option="B")
            self.add_module(name, small_backbone(option="B"))

        def forward(self, x: Tensor) -> Sequence[Tensor]:
            return [child(x) for child in self.children()]

    kinds = {cost.name: cost.kind for cost in static_costs(Two("backbone"), SHAPE)}
    assert kinds["policy.layer2.0.shortcut.0"] == "control"
    assert kinds["backbone.layer2.0.shortcut.0"] == "shortcut"
    assert kinds["backbone.conv1"] == "backbone"
    with pytest.raises(ValueError, match=r'several backbones \(policy, net\); call its own one "backbone"'):
        static_costs(Two("net"), SHAPE)


# Training


def epoch_run(folder: Path, **params: object) -> Run:
    """A run of `blockdrop` on the digits, from weights in a file."""
    run = make_run(BlockDrop, Recipe(epochs=1, batch_size=128), **params)
    torch.manual_seed(0)
    path = folder / "start.safetensors"
    save_weights(build_backbone(run.built, (1, 8, 8), 10), path)
    return run.model_copy(update={"start": Start(file=str(path), sha256="0", epochs=7)})


def steps(net: BlockDropNet, stage: Stage, count: int = 3) -> None:
    """Optimisation steps of a stage, as the trainer does them."""
    assert stage.edit is not None
    stage.edit(net)
    optimizer = stage.optimizer(net)
    net.train()
    for seed in range(count):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        loss = stage.loss(net, random_images(12, seed=seed), torch.arange(12) % 4, Progress(1, 2, 0.5))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def changed(net: BlockDropNet, before: dict[str, Tensor]) -> set[str]:
    """Parts of the model with a parameter or statistic that is no longer as it was."""
    return {key.split(".")[0] for key, value in net.state_dict().items() if not torch.equal(value, before[key])}


def copied(net: BlockDropNet) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def test_the_curriculum_leaves_the_backbone_alone_and_the_joint_stage_does_not() -> None:
    net = net_of()
    curriculum, joint = make(curriculum_epochs=2).stages(RECIPE)
    before = copied(net)
    steps(net, curriculum)
    assert changed(net, before) == {"policy"}
    assert all(
        torch.equal(value, before[key]) for key, value in net.state_dict().items() if key.startswith("backbone.")
    )
    before = copied(net)
    steps(net, joint)
    assert changed(net, before) == {"policy", "backbone"}
    statistics = {
        key for key in before if "running_mean" in key and not torch.equal(net.state_dict()[key], before[key])
    }
    assert any(key.startswith("backbone.") for key in statistics)
    still = [key for key, one in net.named_parameters() if torch.equal(one, before[key])]
    assert still == []


def test_a_policy_learns_which_blocks_matter() -> None:
    """Labels are what the backbone says with its third block alone: no label but that and the reward is ever seen.

    They are of several classes, else every decision that gives the one class would be as good."""
    net, x = net_of(), random_images(64)
    alone = torch.tensor([False, False, True, False]).expand(64, 4)
    with torch.no_grad():
        net.backbone.linear.bias -= run_kept(net.backbone, x, alone).mean(0)
    y = run_kept(net.backbone, x, alone).argmax(1)
    assert len(y.unique()) > 2

    def worth() -> float:
        keep = kept(net.eval(), x)
        return float(reward(run_kept(net.backbone, x, keep).argmax(1) == y, keep, 1.0).mean())

    (stage,) = make(curriculum_epochs=1, joint_epochs=0, lr=0.01).stages(RECIPE)
    optimizer, before = stage.optimizer(net), worth()
    torch.manual_seed(1)
    for _ in range(200):
        optimizer.zero_grad()
        stage.loss(net.train(), x, y, Progress(0, 1, 0.0)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert worth() > before + 0.4
    first, second, third, fourth = kept(net, x).float().mean(0).tolist()
    assert third > 2 * max(first, second, fourth)


def test_it_is_resumed_anywhere(tmp_path: Path) -> None:
    run = epoch_run(tmp_path, curriculum_epochs=2, joint_epochs=2)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    record = execute(run, make_context(whole))
    assert record.status == "finished", record.traceback
    assert [(epoch.stage, epoch.epoch) for epoch in record.history] == list(
        itertools.product(["curriculum", "joint"], [0, 1])
    )
    for place in (("curriculum", 1), ("curriculum", 2), ("joint", 0), ("joint", 1), ("joint", 2)):
        with pytest.raises(KeyboardInterrupt):
            execute(run, make_context(pieces, Interrupter(*place)))
    execute(run, make_context(pieces))
    assert_same_results(pieces, whole)


def test_the_budget_holds_everything(tmp_path: Path) -> None:
    execute(epoch_run(tmp_path, curriculum_epochs=1, joint_epochs=1), make_context(tmp_path))
    (record,) = ResultsFolder(tmp_path).records()
    (before,) = record.budget.pretrained
    assert before.epochs == 7
    curriculum, joint = record.budget.stages
    policy = sum(layer.macs for layer in record.points[0].layers if layer.kind == "control")
    assert joint.train_macs > curriculum.train_macs > 2.5 * policy * curriculum.images
    # Of the joint stage: the greedy pass, and the sampled one with its gradients, all three whole; the stem's input
    # needs no gradient.
    assert joint.train_macs / joint.images > 3.5 * record.macs_dense
    assert record.points[0].audited


# Parameters


@pytest.mark.parametrize(
    "params",
    [
        {"init": "weights.pt"},
        {"init_epochs": 3},
        {"init": "weights.pt", "init_epochs": 3, "dense_epochs": 11},
        {"alpha": 0.5},
        {"alpha": 1.0},
        {"beta": -1},
        {"gamma": -1},
        {"curriculum_epochs": 0},
        {"curriculum_epochs": 4, "curriculum_span": 5},
    ],
)
def test_parameters_that_make_no_sense(params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make(**params)


def test_where_weights_come_from() -> None:
    assert make().start() == FromDense()
    assert make(dense_epochs=11).start() == FromDense(11)
    assert make(init="w.pt", init_epochs=160).start() == FromFile("w.pt", 160)


def test_stages_and_their_learning_rates() -> None:
    curriculum, joint = make(curriculum_epochs=5, joint_epochs=20).stages(RECIPE)
    assert (curriculum.name, curriculum.epochs, joint.name, joint.epochs) == ("curriculum", 5, "joint", 20)
    net = net_of()
    for stage, rate, whose in ((curriculum, 1e-3, {"policy"}), (joint, 1e-4, {"policy", "backbone"})):
        assert stage.edit is not None
        stage.edit(net)
        (group,) = stage.optimizer(net).param_groups
        assert group["lr"] == rate
        mine = {id(parameter) for parameter in group["params"]}
        assert {name.split(".")[0] for name, one in net.named_parameters() if id(one) in mine} == whose
    assert [round(joint.schedule(epoch), 6) for epoch in (0.1, 15.9, 16.0, 20.0)] == [1, 1, 0.1, 0.1]
    assert len(make(joint_epochs=0).stages(RECIPE)) == 1


def test_policy_shapes() -> None:
    assert [block.out_channels for _, block in PolicyNet((3, 32, 32), 5).net.named_blocks()] == [16, 32, 64]
    assert [block.out_channels for _, block in PolicyNet((3, 64, 64), 5).net.named_blocks()] == [64, 128, 256, 512]
