"""What a suite file may say. Every key of the YAML is a field here, with its type and its unit."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveFloat,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from dynbench.errors import UserError
from dynbench.suite.engines import ENGINES
from dynbench.suite.model import LONGEST_NAME, WIDEST, Count, Model, Seed, named
from dynbench.suite.recipe import Recipe
from dynbench.suite.rules import METRICS, parse_rule

DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"


class DataSpec(Model):
    """The data set and how its training images are divided."""

    name: str
    root: Path | None = None
    """Folder that holds (or will hold) the data; `--data` overrides it. It does not affect the run id."""
    validation: Count | None = None
    """Images held out of the training split, by the data set's stored permutation or rule. None: its default."""
    mean: tuple[float, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None
    """Per-channel normalisation of images in [0, 1]. None: the data set's own statistics."""
    augment: bool = True
    """Random pad-4 crop and horizontal flip, where the data set allows it; random resized crop of images in files."""
    side: Count | None = None
    """Pixels of a side of the crops of images in files. None: 224."""
    classes: Count | None = None
    """Of `imagefolder`, which may hold any."""
    training_images: Count | None = None
    """Of `imagefolder`, those held out included."""


class BackboneSpec(Model):
    """A backbone by name; `width` scales every channel count but the input's and the classes'."""

    name: str
    width: float = Field(1.0, gt=0, le=WIDEST)
    shortcut: Literal["A", "B"] | None = None
    """He et al.'s shortcut options where the shape changes. A: subsample and pad with zeros; B: 1x1
    convolution. None: the backbone's own."""
    stem: Literal["cifar", "imagenet"] | None = None
    """cifar: 3x3, stride 1. imagenet: 7x7, stride 2, and max pooling, with torchvision's parameter names. None: by the
    image, imagenet from 64 rows on where the backbone has it."""


class MethodEntry(Model):
    """A method and its parameters. A list, where the parameter is not itself a list, is a sweep."""

    name: str
    params: dict[str, Any] = {}


class Evaluation(Model):
    """How the validation and the test split are evaluated."""

    batch_size: Count = 500
    validate_every: Count = 1
    """Epochs between two looks at the validation split (the last epoch always has one)."""


def _known_engine(name: str) -> str:
    if name not in ENGINES:
        known = " or ".join(map(repr, ENGINES))
        raise PydanticCustomError("literal_error", "expected {expected}", {"expected": known})
    return name


EngineName = Annotated[str, AfterValidator(_known_engine)]


class LatencyProtocol(Model):
    """How executors are timed: `rounds` passes over the first `images` of the validation split at each batch size.

    The defaults are the short protocol that ends every run.
    """

    images: Count = 64
    rounds: Count = 5
    batches: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 32)
    threads: Count | None = None
    """Of PyTorch and the engines. None: PyTorch's own choice."""
    engines: tuple[EngineName, ...] = ()
    """What the dense backbone is timed on besides eager PyTorch, at the smallest and the largest batch size."""

    def ends(self, images: int) -> tuple[int, ...]:
        """Return the smallest and the largest batch size that `images` images fill.

        Engines compile for each, which takes long.
        """
        filled = [size for size in self.batches if size <= min(images, self.images)]
        return tuple(sorted({min(filled), max(filled)})) if filled else ()


def _or_none(value: Any) -> Any:
    """`latency: none`."""
    if value == "none":
        return None
    if isinstance(value, str):
        raise ValueError(f'expected none or a mapping, as {{rounds: 5}}, got "{value}"')  # noqa: TRY004  (pydantic's)
    return value


class BudgetCap(Model):
    """What one run may spend on its training, everything pre-trained included. None: without limit."""

    train_macs: PositiveFloat | None = None
    """MACs, forward and backward, as estimated before it starts."""
    epochs: Count | None = None


class Limits(Model):
    """What a run may do on this machine before it is ended: it has failed then, and the others continue."""

    silence_minutes: PositiveFloat | None = None
    """Without a step, a batch of an evaluation, a pass of a timing, or an end: it hangs. None: ten, and ten times the
    longest silence so far where that is more; an hour where the recipe compiles."""
    planning_minutes: PositiveFloat = 2
    """As `silence_minutes`, while the suite is planned: a plugin is imported, a net is built and tried for a step."""
    runs: Count = 1000
    """That the suite asks for: a sweep is soon longer than anyone waits. Static controls are not counted."""
    memory_gib: PositiveFloat | None = None
    """Of main memory, everything that it starts included. None: `memory_share`."""
    memory_share: float = Field(0.9, gt=0, le=1)
    """As a fraction of the machine's."""

    @property
    def while_planning(self) -> "Limits":
        """Return the limits of a process that helps to plan."""
        return self.model_copy(update={"silence_minutes": self.planning_minutes})


DEFAULT_LIMITS = Limits()
"""The defaults."""


_RULE_OF_EACH_METRIC: dict[str, Any] = dict.fromkeys(METRICS, (str | None, None))


class CheckRules(create_model("_Rules", __base__=Model, **_RULE_OF_EACH_METRIC)):  # type: ignore[misc]  # of its fields
    """How much worse `dynbench check` lets each of `METRICS` get: `0`, points as `-0.5pt`, or per cent as `-10%`.

    None: it is not looked at.
    """

    @field_validator("*", mode="before")
    @classmethod
    def _is_a_rule(cls, value: Any, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        try:
            return str(parse_rule(str(info.field_name), value))
        except UserError as error:
            raise ValueError(str(error)) from error

    @property
    def given(self) -> dict[str, str]:
        """The rules that there are, by their metric."""
        texts: dict[str, str] = self.model_dump(exclude_none=True)
        return texts


class Tracking(Model):
    """Where runs are tracked besides their records."""

    backend: Literal["mlflow", "none"] = "mlflow"
    uri: str | None = None
    """MLflow tracking URI. None: MLFLOW_TRACKING_URI, else a SQLite file in the results folder."""
    seconds: PositiveFloat = 60
    """That MLflow may hold up one run, in all; what is not sent by then is sent by `dynbench sync`."""


class SuiteFile(Model):
    """One suite file, as written."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)
    data: Annotated[DataSpec, BeforeValidator(named)]
    backbones: Annotated[tuple[Annotated[BackboneSpec, BeforeValidator(named)], ...], Field(min_length=1)]
    recipe: Recipe
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    methods: Annotated[tuple[Annotated[MethodEntry, BeforeValidator(named)], ...], Field(min_length=1)]
    evaluation: Evaluation = Evaluation()
    tracking: Annotated[Tracking, BeforeValidator(lambda v: {"backend": v} if isinstance(v, str) else v)] = Tracking()
    latency: Annotated[LatencyProtocol | None, BeforeValidator(_or_none)] = LatencyProtocol()
    """How finished runs are timed; `none`: they are not. It does not affect the run id."""
    controls: bool = False
    """Whether finished dynamic runs get static controls of their mean MACs and their budget. It does not affect the run
    id."""
    budget: BudgetCap = BudgetCap()
    """What exceeds it is refused before anything is trained. It does not affect the run id."""
    limits: Limits = Limits()
    """What a run may do before it is ended. It does not affect the run id."""
    check: CheckRules = CheckRules()
    """Rules of `dynbench check` and `dynbench baseline`. They do not affect the run id."""
    device: str = Field("auto", pattern=DEVICE)
    """auto: the first CUDA device, else the CPU. It does not affect the run id."""
