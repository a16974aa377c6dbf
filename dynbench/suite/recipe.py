"""How a suite's methods are trained.

Optimizer, schedule, augmentation, averaging. docs/recipes.md says what each is worth.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, model_validator

from dynbench.suite.model import Count, Model, named

Beta = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _PerParameter(Model):
    """What BN's weights and biases, and all biases, are given apart from other parameters."""

    decay_norm_and_bias: bool = True
    """Whether weight decay reaches BN's weights and biases too (He et al., 2019, section 3.1: better not)."""
    bias_scaler: PositiveFloat = 1.0
    """Learning rate of biases, BN's included, relative to `lr` (as in cifar10-airbench, which takes 64)."""


class Sgd(_PerParameter):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    lr: PositiveFloat = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(5e-4, ge=0)

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; set nesterov: false")
        return self


class Muon(Model):
    """Orthogonalised momentum for the weights of convolutions (Jordan et al., 2024).

    SGD with Nesterov momentum for the rest: linear layers, biases and BN, of which the last two do not decay.
    """

    name: Literal["muon"]
    lr: PositiveFloat = 0.02
    """Of convolutions: the length of a step, by which a weight of norm 1 an output turns."""
    ns_steps: int = Field(5, ge=1, le=50)
    """Newton-Schulz iterations; their MACs are counted in the budget. 5 are published."""
    unit_norm: bool = True
    """Keep the L2 norm of a convolution's weights at the root of its outputs. Behind a BN, which takes any norm out
    again, that makes `lr` the whole rate. False: the norm is left to itself."""
    sgd_lr: PositiveFloat = 0.1
    momentum: float = Field(0.9, gt=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    """Of linear layers."""
    bias_scaler: PositiveFloat = 1.0
    """Learning rate of biases, BN's included, relative to `sgd_lr`."""


class Adam(_PerParameter):
    """Adam (Kingma and Ba, 2015)."""

    name: Literal["adam"]
    lr: PositiveFloat = 1e-3
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)


class StepDecay(Model):
    """Multiply the learning rate by `gamma` at each milestone (in epochs)."""

    name: Literal["step"]
    milestones: tuple[Count, ...]
    gamma: PositiveFloat = 0.1


class Cosine(Model):
    """Half a cosine from the full learning rate down to `floor` times it."""

    name: Literal["cosine"]
    floor: float = Field(0.0, ge=0, le=1)


class Linear(Model):
    """A straight line from the full learning rate down to `floor` times it."""

    name: Literal["linear"]
    floor: float = Field(0.0, ge=0, le=1)


class OneCycle(Model):
    """Smith and Topin's one cycle (2018), as torch.optim.lr_scheduler.OneCycleLR anneals it.

    A cosine up from `1 / div_factor` of the learning rate, another down to `1 / (div_factor * final_div_factor)`.
    Momentum is not cycled.
    """

    name: Literal["one_cycle"]
    pct_start: Fraction = 0.3
    """Fraction of a stage that the way up takes."""
    div_factor: float = Field(25.0, ge=1)
    final_div_factor: float = Field(1e4, ge=1)


class Constant(Model):
    """The full learning rate throughout."""

    name: Literal["constant"]


class Augmentation(Model):
    """How training images in memory are changed, where the data set allows it (`data.augment`)."""

    padding: int = Field(4, ge=0, le=64)
    """Pixels on each side, before a crop of the image's size at a random place."""
    padding_mode: Literal["zeros", "reflect"] = "zeros"
    flip: Literal["random", "alternating", "none"] = "random"
    """alternating: half of the images, drawn once, are flipped left to right in even epochs, the others in odd ones
    (cifar10-airbench: an image is seen both ways in any two epochs)."""
    cutout: int = Field(0, ge=0, le=512)
    """Side of a square, in pixels, that is set to the data set's mean colour, centred on a random pixel and cut off at
    the borders (DeVries and Taylor, 2017). 0: none."""


class Phase(Model):
    """Training images are scaled to `side` pixels a side, up to the fraction `until` of a stage."""

    side: int = Field(ge=4, le=4096)
    until: Fraction


class _Averaged(Model):
    bn_images: Count = 5000
    """Training images, not augmented, from which BN statistics are taken again for the averaged weights. Their forward
    passes are counted in the budget."""


class Ema(_Averaged):
    """Exponential moving average of the weights (Polyak and Juditsky, 1992): what a stage ends with."""

    name: Literal["ema"]
    decay: Fraction = 0.999
    """A step."""


class Lookahead(_Averaged):
    """Slow weights, which a stage ends with (Zhang et al., 2019).

    Every `k` steps they go `alpha` of the way to the fast ones, which then continue from there.
    """

    name: Literal["lookahead"]
    k: Count = 5
    alpha: float = Field(0.5, gt=0, le=1)


OptimizerSpec = Annotated[Annotated[Sgd | Adam | Muon, Field(discriminator="name")], BeforeValidator(named)]
ScheduleSpec = Annotated[
    Annotated[StepDecay | Cosine | Linear | OneCycle | Constant, Field(discriminator="name")], BeforeValidator(named)
]
AveragingSpec = Annotated[Annotated[Ema | Lookahead, Field(discriminator="name")], BeforeValidator(named)]


class Recipe(Model):
    """How every method of the suite is trained: one recipe and budget for all, or a comparison means nothing."""

    epochs: Count
    batch_size: Count = 128
    optimizer: OptimizerSpec = Sgd(name="sgd")
    schedule: ScheduleSpec = Cosine(name="cosine")
    warmup_epochs: float = Field(0.0, ge=0)
    """Linear warm-up of the learning rate, in epochs."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    clip_norm: PositiveFloat | None = None
    """Gradients are scaled down to this L2 norm."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast in training where the hardware computes in it, fp32 elsewhere; the record says which.
    Evaluation is always fp32."""
    channels_last: bool = True
    compile: bool | Literal["reduce-overhead", "max-autotune"] = False
    """torch.compile the training loss, in its default mode or in another, both of which record CUDA graphs."""
    augmentation: Augmentation = Augmentation()
    progressive_resizing: tuple[Phase, ...] = ()
    """Smaller training images first (Howard, 2018), scaled bilinearly with antialiasing; whole ones after the last
    phase. MACs are counted at the size that ran."""
    averaging: AveragingSpec | None = None
    """Of weights: the averaged ones are the result of a stage. Validation within a stage is of the others."""
    zero_gamma: bool = False
    """Start the last BN of each block with a shortcut at zero (Goyal et al., 2017, section 5.1)."""
    dirac: bool = False
    """Start convolutions of blocks, depthwise ones excepted, as the identity on as many channels as they take
    (Zagoruyko and Komodakis, 2017; cifar10-airbench); other outputs stay random."""

    @model_validator(mode="after")
    def _phases_follow(self) -> "Recipe":
        ends = [phase.until for phase in self.progressive_resizing]
        if ends != sorted(set(ends)):
            raise ValueError("progressive_resizing: each phase must end later than the one before")
        return self

    @model_validator(mode="after")
    def _one_way_up(self) -> "Recipe":
        if isinstance(self.schedule, OneCycle) and self.warmup_epochs:
            raise ValueError("one_cycle has a way up of its own (pct_start); set warmup_epochs: 0")
        return self
