"""What a stage does to the model before it trains it."""

from collections.abc import Callable

from torch import Tensor, nn

from dynbench.method import Stage


def apply_edits(stage: Stage, model: nn.Module, images: Callable[[int], Tensor]) -> None:
    """The stage's edits, in place; `images(n)` gives n normalised training images and is only asked when needed."""
    if stage.edit is not None:
        stage.edit(model)
    if stage.edit_on_images is not None:
        stage.edit_on_images(model, images(stage.images))
