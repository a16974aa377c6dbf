"""Ways for a backbone to start from scratch that a recipe may ask for."""

from torch import nn

from dynbench.backbones.backbone import Backbone
from dynbench.suite.recipe import Recipe


def initialise(backbone: Backbone, recipe: Recipe) -> None:
    """Change the random weights of `backbone`, in place, as the recipe says.

    Draws no random numbers: what it leaves alone stays what it was.
    """
    for _, block in backbone.named_blocks():
        convs = [block.conv_and_norm(name) for name in block.branch_convs()]
        if recipe.zero_gamma and block.skippable:
            nn.init.zeros_(convs[-1][1].weight)
        if recipe.dirac:
            for conv, _ in convs:
                if conv.groups == 1:
                    nn.init.dirac_(conv.weight[: conv.in_channels])
