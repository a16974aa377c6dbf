"""Single images in one call: the same logits and the same operations as module by module."""

from copy import deepcopy

import pytest
import torch
from dynbench_methods.dense import Dense
from dynbench_methods.lc_net.cost_modes import COST_MODES
from dynbench_methods.lc_net.gates import GatedBackbone
from dynbench_methods.lc_net.method import LCNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dynbench.backbones.residual import projection
from dynbench.executors import FoldedBackbone, module_by_module
from dynbench.kernels.cpu import build, operators
from dynbench.method import Point
from tests.helpers.planted import plant
from tests.helpers.small import CLASSES, random_images, small_backbone

pytestmark = pytest.mark.skipif(not operators.available(), reason=str(build.why_not()))


def flops(executor: nn.Module, image: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        executor(image)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("point", COST_MODES, ids=lambda point: point.name)
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(("bottleneck", "option"), [(False, "A"), (False, "B"), (True, "A"), (True, "B")])
def test_it_does_what_the_modules_do(bottleneck: bool, option: str, group: int, point: Point) -> None:
    method = LCNet(LCNet.Config(channel_group=group))
    model = method.build(small_backbone(bottleneck, option))
    assert isinstance(model, GatedBackbone)
    images = random_images(24)
    plant(model.eval(), images, 0.5)
    executor = method.executor(model, point)
    executed = set()
    with torch.no_grad():
        for image in images.split(1):
            together, count = executor(image), flops(executor, image)
            with module_by_module():
                torch.testing.assert_close(together, executor(image), rtol=1e-5, atol=1e-6)
                assert count == flops(executor, image)
            executed.add(count)
    assert len(executed) > 3  # the gates differ between images


def test_blocks_that_are_not_kept_are_skipped() -> None:
    backbone = small_backbone(option="B").eval()
    folded = FoldedBackbone(backbone)
    whole = folded.for_one_image()
    image = random_images(1)
    assert whole.fits(image)
    kept = [True, False, False, True]
    x = folded.stem(image)
    for block, runs in zip(folded.blocks, kept, strict=True):
        x = block(x) if runs else block.shortcut(x)
    torch.testing.assert_close(whole(image, kept), folded.head(x))
    with pytest.raises(RuntimeError, match="one decision for each block"):
        whole(image, [True])


def test_it_follows_copies_and_moves() -> None:
    executor = Dense(Dense.Config()).executor(small_backbone().eval(), Point())
    image = random_images(1)
    before = executor(image)
    copied = deepcopy(executor)
    copied.classifier.bias += 1
    torch.testing.assert_close(copied(image), before + 1)
    assert torch.equal(executor(image), before)
    torch.testing.assert_close(executor.double()(image.double()), before.double(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(executor.float()(image), before, rtol=1e-5, atol=1e-6)


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_a_shortcut_of_another_kind_runs_as_a_module() -> None:
    backbone = small_backbone(option="B").eval()
    _, block = next(backbone.named_blocks())
    block.shortcut = nn.Sequential(Doubling())
    image = random_images(1)
    executor = Dense(Dense.Config()).executor(backbone, Point())
    torch.testing.assert_close(executor(image), backbone(image), rtol=1e-4, atol=1e-5)
    block.shortcut = nn.Sequential(*projection(block.in_channels, block.out_channels, 1), Doubling()).eval()
    executor = Dense(Dense.Config()).executor(backbone, Point())
    assert executor(image).shape == (1, CLASSES)
    torch.testing.assert_close(executor(image), backbone(image), rtol=1e-4, atol=1e-5)
