"""Small image files in folders of classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from dynbench.data.decoders import Decoders
from dynbench.data.image_files import ImageFiles

WNIDS = ("n01440764", "n02105855", "n15075141")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth, asymmetric picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG" if image.mode in {"P", "RGBA"} else "JPEG", quality=95)
    return path


def grey_files(
    folder: Path, count: int, side: int = 8, threads: int = 2, work: Callable[..., None] | None = None
) -> ImageFiles:
    """Image number i is grey, of brightness 3 i, whatever is cropped from it."""
    for index in range(count):
        save(Image.new("RGB", (40, 30), (3 * index,) * 3), folder / f"{index}.JPEG")
    return ImageFiles(Decoders((folder, [f"{index}.JPEG" for index in range(count)]), side, threads, work))


def noise_files(
    folder: Path, count: int, side: int = 16, threads: int = 2, work: Callable[..., None] | None = None
) -> ImageFiles:
    for index in range(count):
        save(noise(30 + index, 40, index), folder / f"{index}.JPEG")
    return ImageFiles(Decoders((folder, [f"{index}.JPEG" for index in range(count)]), side, threads))


def class_folders(root: Path, train: int = 5, val: int = 2, kinds: tuple[str, ...] = WNIDS) -> Path:
    """`train/WNID/*.JPEG` and `val/WNID/*.JPEG`, this many of each class."""
    for number, kind in enumerate(kinds):
        for index in range(train):
            save(noise(24, 20, 10 * number + index), root / "train" / kind / f"{kind}_{index}.JPEG")
        for index in range(val):
            name = f"ILSVRC2012_val_{number * val + index + 1:08}.JPEG"
            save(noise(20, 24, 100 + 10 * number + index), root / "val" / kind / name)
    return root
