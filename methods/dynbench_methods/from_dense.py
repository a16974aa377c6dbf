"""What methods share that start from a trained dense net: where from, and how it is trained on."""

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dynbench.method import FromDense, FromFile, MethodConfig, Recipe, Sgd, lasting


class StartConfig(MethodConfig):
    """Where a method that needs a trained dense net has it from."""

    init: str = "dense"
    """dense (the suite's trained dense backbone), or backbone weights: a file, or a name of torchvision's."""
    init_epochs: int | None = Field(None, ge=0)
    """Epochs that a file's weights were trained for; they count in the budget."""
    dense_epochs: PositiveInt | None = None
    """Start from a dense backbone that was trained for this many epochs. None: the recipe's."""

    @model_validator(mode="after")
    def _start_has_one_budget(self) -> "StartConfig":
        if (self.init != "dense") != (self.init_epochs is not None):
            raise ValueError("init_epochs is only for weights from a file, and must be given for them")
        if self.init != "dense" and self.dense_epochs is not None:
            raise ValueError("dense_epochs is only for init: dense")
        return self

    def start(self) -> FromDense | FromFile:
        """Return where the weights come from."""
        if self.init_epochs is not None:
            return FromFile(self.init, self.init_epochs)
        return FromDense(self.dense_epochs)


class FromDenseConfig(StartConfig):
    """Parameters of methods that train such a net on by the suite's recipe."""

    epochs: PositiveInt | None = None
    """Of the method's own training. None: the recipe's."""
    lr: PositiveFloat | None = None
    """Learning rate of an SGD recipe. None: the recipe's."""

    def own_recipe(self, recipe: Recipe) -> Recipe:
        """Return the suite's recipe over the method's epochs and at its learning rate, without a warm-up."""
        recipe = lasting(recipe, self.epochs).model_copy(update={"warmup_epochs": 0})
        if self.lr is None or not isinstance(recipe.optimizer, Sgd):
            return recipe
        return recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": self.lr})})
