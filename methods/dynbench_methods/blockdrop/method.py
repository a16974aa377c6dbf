"""BlockDrop (Wu et al., arXiv 1711.08393): a policy network sees the image first and says which blocks are dropped."""

from collections.abc import Sequence
from typing import cast

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from dynbench.method import (
    Adam,
    Backbone,
    FromDense,
    FromFile,
    LayerUsage,
    Method,
    Output,
    Point,
    Progress,
    Recipe,
    Stage,
    make_optimizer,
)
from dynbench_methods.blockdrop.losses import bounded, curriculum_loss, decided_blocks, joint_loss, only_last, reward
from dynbench_methods.blockdrop.net import BlockDropExecutor, BlockDropNet, run_kept
from dynbench_methods.blockdrop.policy import greedy
from dynbench_methods.from_dense import StartConfig

LATE, LOWER = 0.8, 0.1
"""After this share of the joint stage its learning rates are multiplied by this: ResNet-110's 1,600 of 2,000 epochs."""


class BlockDropConfig(StartConfig):
    """The defaults are the published values, but for the epochs, which are far fewer."""

    alpha: float = Field(0.8, gt=0.5, lt=1)
    """Bounds the probability of keeping a block to [1 - alpha, alpha] in training."""
    beta: NonNegativeFloat = 0.1
    """Weight of the policy's entropy in the curriculum stage."""
    gamma: NonNegativeFloat = 1.0
    """Penalty of a wrong prediction in the curriculum stage."""
    gamma_joint: NonNegativeFloat = 10.0
    """The same in the joint stage: 10 for ResNet-110, 5 on ImageNet."""
    curriculum_epochs: PositiveInt = 40
    """Published: 5,000 with batches of 2,048 on CIFAR, 45 on ImageNet."""
    curriculum_span: PositiveInt | None = None
    """Epochs after which the policy decides all blocks. None: as many as there are blocks, one more each epoch as
    published, or all of the stage's where it has fewer."""
    joint_epochs: NonNegativeInt = 20
    """Published: 2,000 with batches of 256 on CIFAR, 10 of 320 on ImageNet."""
    lr: PositiveFloat = 1e-3
    joint_lr: PositiveFloat = 1e-4

    @model_validator(mode="after")
    def _all_blocks_are_reached(self) -> "BlockDropConfig":
        if self.curriculum_span is not None and self.curriculum_span > self.curriculum_epochs:
            raise ValueError("curriculum_span is longer than curriculum_epochs: some blocks would never be decided")
        return self


class BlockDrop(Method):
    """Two stages: the policy alone, on the frozen backbone, over more and more blocks; then both together.

    Of the recipe it takes batch size, label smoothing (of the joint stage), gradient clipping and precision; epochs,
    optimizer and schedule are its own. What the paper leaves open and is declared here stands in README.md beside this.
    """

    name = "blockdrop"
    Config = BlockDropConfig
    config: BlockDropConfig

    def start(self) -> FromDense | FromFile:
        return self.config.start()

    def build(self, backbone: Backbone) -> nn.Module:
        return BlockDropNet(backbone)

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        def joint(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:  # noqa: ARG001
            return self._joint(cast("BlockDropNet", model), x, y, recipe.label_smoothing)

        config = self.config
        curriculum = Stage(
            name="curriculum",
            epochs=config.curriculum_epochs,
            loss=self._curriculum,
            optimizer=lambda model: make_optimizer(Adam(name="adam", lr=config.lr), model),
            schedule=lambda _: 1.0,
            edit=lambda model: _train_backbone(model, False),
        )
        together = Stage(
            name="joint",
            epochs=config.joint_epochs,
            loss=joint,
            optimizer=lambda model: make_optimizer(Adam(name="adam", lr=config.joint_lr), model),
            schedule=lambda epoch: 1.0 if epoch < LATE * config.joint_epochs else LOWER,
            edit=lambda model: _train_backbone(model, True),
        )
        return [curriculum, together] if config.joint_epochs else [curriculum]

    def _curriculum(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        """Section 3.3, first stage: the backbone only says what a decision is worth."""
        net = cast("BlockDropNet", model)
        net.backbone.eval()  # the trainer sets the whole model to training; frozen, BN's statistics must not move
        scores = net.policy(x)
        p = bounded(scores, self.config.alpha)
        blocks = p.shape[1]
        span = self.config.curriculum_span or min(blocks, progress.epochs)
        decided = decided_blocks(blocks, progress.epoch, span)
        keep = only_last(torch.bernoulli(p.detach()).bool(), decided)
        best = only_last(greedy(scores), decided)
        with torch.no_grad():
            gained, expected = (_reward(run_kept(net.backbone, x, u), y, u, self.config.gamma) for u in (keep, best))
        return curriculum_loss(p, keep, gained - expected, decided, self.config.beta)

    def _joint(self, net: BlockDropNet, x: Tensor, y: Tensor, label_smoothing: float) -> Tensor:
        """Section 3.3, second stage."""
        scores = net.policy(x)
        p = bounded(scores, self.config.alpha)
        keep, best = torch.bernoulli(p.detach()).bool(), greedy(scores)
        gamma = self.config.gamma_joint
        with torch.no_grad():
            expected = _reward(run_kept(net.backbone, x, best), y, best, gamma)
        logits = run_kept(net.backbone, x, keep)
        advantage = _reward(logits.detach(), y, keep, gamma) - expected
        return joint_loss(p, keep, advantage, logits, y, label_smoothing)

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        net = cast("BlockDropNet", model)
        keep = greedy(net.policy(x))
        output = Output(run_kept(net.backbone, x, keep), _usage(net.backbone, keep))
        return [output for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:  # noqa: ARG002
        return BlockDropExecutor(cast("BlockDropNet", model))


def _train_backbone(model: nn.Module, trained: bool) -> None:
    cast("BlockDropNet", model).backbone.requires_grad_(trained)


def _reward(logits: Tensor, y: Tensor, keep: Tensor, gamma: float) -> Tensor:
    return reward(logits.argmax(1) == y, keep, gamma)


def _usage(backbone: Backbone, keep: Tensor) -> dict[str, LayerUsage]:
    """Every convolution of a kept block's branch ran whole, those of a dropped one not at all."""
    usage = {}
    skippable = [(name, block) for name, block in backbone.named_blocks() if block.skippable]
    for (name, block), kept in zip(skippable, keep.unbind(1), strict=True):
        usage.update({f"backbone.{name}.{conv}": LayerUsage(positions=kept) for conv in block.branch_convs()})
    return usage
