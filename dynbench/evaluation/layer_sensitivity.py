"""How accuracy falls when one layer alone loses filters, nothing retrained (Li et al., arXiv 1608.08710, section 3.2).

Which layers to prune little, or not at all. Looks at the validation split only.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dynbench.backbones import Backbone, ResidualBlock, build_backbone
from dynbench.backbones.removal import InnerConv, inner_convs, l1_norms, largest, rounded_up
from dynbench.backbones.weights import load_weights
from dynbench.cost import evaluating
from dynbench.data import load_data
from dynbench.data.augment import Normalise
from dynbench.data.image_files import in_batches
from dynbench.data.split import Split
from dynbench.device import choose_device
from dynbench.files import write_atomically
from dynbench.suite.schema import BackboneSpec, DataSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer of the scan.

    Its name and stage in the backbone, its number and filters (as `InnerConv`), and for each ratio asked for how many
    filters were `removed`, those of the smallest L1 norms, and the accuracy then, `top1` in per cent.
    """

    layer: str
    stage: str
    number: int
    filters: int
    removed: tuple[int, ...]
    top1: tuple[float, ...]


@dataclass(frozen=True)
class Scan:
    """All layers at the same `ratios`; `whole` is the accuracy of the backbone as it is, on `images` images."""

    ratios: tuple[float, ...]
    images: int
    whole: float
    layers: tuple[LayerSensitivity, ...]


@dataclass(frozen=True)
class _Variant:
    """The block number `index` with `removed` of one layer's filters gone."""

    index: int
    block: nn.Module
    removed: int


def scan_weights(
    weights: Path,
    backbone: BackboneSpec,
    data: DataSpec,
    ratios: Sequence[float],
    device: str,
    batch_size: int,
    images: int | None,
    on_batch: Callable[[int, int], None],
) -> Scan:
    """Scan backbone weights from a file on the first `images` validation images, None for all.

    Raises UserError when weights or data are not right.
    """
    where = choose_device(device)
    loaded = load_data(data)
    model = build_backbone(backbone, loaded.shape, loaded.num_classes)
    load_weights(model, weights)
    whole = loaded.validation
    split = (whole if images is None else Split(whole.images[:images], whole.labels[:images])).to(where)
    return scan(model.to(where), split, loaded.normalise(where), ratios, batch_size, on_batch)


def scan(
    backbone: Backbone,
    split: Split,
    normalise: Normalise,
    ratios: Sequence[float],
    batch_size: int,
    on_batch: Callable[[int, int], None] = lambda *_: None,
) -> Scan:
    """Prune each layer alone at each of `ratios` and evaluate; `on_batch(images done, images)` after each batch."""
    layers = list(inner_convs(backbone))
    variants = [_variant(backbone, layer, ratio) for layer in layers for ratio in ratios]
    right = torch.zeros(len(variants) + 1, dtype=torch.int64)
    with evaluating(backbone):
        batches = zip(in_batches(split.images, batch_size), torch.split(split.labels, batch_size), strict=True)
        for number, (x, labels) in enumerate(batches):
            right += _right(backbone, variants, normalise(x), labels)
            on_batch(number * batch_size + len(x), len(split))
    *top1, whole = (100 * right.double() / len(split)).tolist()
    return Scan(tuple(ratios), len(split), whole, tuple(_results(layers, variants, top1, len(ratios))))


def _variant(backbone: Backbone, layer: InnerConv, ratio: float) -> _Variant:
    names = [name for name, _ in backbone.named_blocks()]
    removed = rounded_up(ratio, layer.filters)
    copy = deepcopy(backbone)
    (one,) = (other for other in inner_convs(copy) if other.name == layer.name)
    one.keep(largest(l1_norms(layer.conv), layer.filters - removed))
    return _Variant(names.index(layer.block), copy.get_submodule(layer.block).eval(), removed)


def _right(backbone: Backbone, variants: Sequence[_Variant], x: Tensor, labels: Tensor) -> Tensor:
    """How many images of a batch every variant gets right, and last the backbone itself.

    What comes before the pruned block is the same for all, and computed once.
    """
    blocks = [block for _, block in backbone.named_blocks()]
    counts = torch.zeros(len(variants) + 1, dtype=torch.int64)
    x = backbone.stem(x)
    for index, block in enumerate(blocks):
        for number, variant in enumerate(variants):
            if variant.index == index:
                counts[number] = _count(backbone, variant.block(x), blocks[index + 1 :], labels)
        x = block(x)
    counts[-1] = _count(backbone, x, [], labels)
    return counts


def _count(backbone: Backbone, x: Tensor, blocks: Sequence[ResidualBlock], labels: Tensor) -> int:
    for block in blocks:
        x = block(x)
    return int((backbone.head(x).argmax(1) == labels).sum())


def _results(
    layers: Sequence[InnerConv], variants: Sequence[_Variant], top1: Sequence[float], ratios: int
) -> list[LayerSensitivity]:
    results = []
    for number, layer in enumerate(layers):
        part = slice(number * ratios, (number + 1) * ratios)
        removed = tuple(variant.removed for variant in variants[part])
        results.append(
            LayerSensitivity(layer.name, layer.stage, layer.number, layer.filters, removed, tuple(top1[part]))
        )
    return results


def sensitivity_table(scan: Scan) -> "pd.DataFrame":
    """Return a table with columns layer, number, stage, filters, ratio, removed, top1 (per cent), images.

    The whole backbone's row comes first, without a layer.
    """
    import pandas as pd

    whole = {"ratio": 0.0, "removed": 0, "top1": scan.whole, "images": scan.images}
    rows = [
        {
            "layer": layer.layer,
            "number": layer.number,
            "stage": layer.stage,
            "filters": layer.filters,
            "ratio": ratio,
            "removed": removed,
            "top1": top1,
            "images": scan.images,
        }
        for layer in scan.layers
        for ratio, removed, top1 in zip(scan.ratios, layer.removed, layer.top1, strict=True)
    ]
    table = pd.DataFrame([*rows, whole])
    return pd.concat([table.iloc[-1:], table.iloc[:-1]]).astype({"number": "Int64", "filters": "Int64"})


def write_csv(scan: Scan, path: Path) -> Path:
    """Returns `path`. Raises UserError when it cannot be written."""
    write_atomically(path, sensitivity_table(scan).to_csv(index=False).encode())
    return path
