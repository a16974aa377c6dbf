"""From an image file to a square of uint8 pixels, as torchvision's reference transforms cut it.

Greyscale, palette, CMYK and other images become RGB as Pillow converts them; what is smaller than the crop is enlarged.
Pillow and PyTorch give up the interpreter's lock while they decode and scale.
"""

import math
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from dynbench.files import open_bounded

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10
"""Szegedy et al., arXiv 1409.4842, section 6; the numbers are torchvision's."""
RESIZED = 256 / 224
"""Shorter side of the resized image over that of the crop, in evaluation."""
HALF = 0.5
LARGEST_IMAGE = 2**30

Box = tuple[int, int, int, int]


def draw_box(width: int, height: int, draw: Random) -> Box:
    """Return (left, top, width, height) of a random crop: as torchvision's RandomResizedCrop.get_params."""
    for _ in range(TRIES):
        area = width * height * _between(AREA, draw)
        ratio = math.exp(_between((math.log(RATIO[0]), math.log(RATIO[1])), draw))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(draw.random() * (width - w + 1)), int(draw.random() * (height - h + 1)), w, h
    w = min(width, max(1, round(height * RATIO[1])))
    h = min(height, max(1, round(width / RATIO[0])))
    return (width - w) // 2, (height - h) // 2, w, h


def random_crop(path: Path | str, side: int, draw: Random) -> np.ndarray:
    """Return a random part of the image, scaled to uint8 (3, side, side).

    In half of the cases it is flipped left to right.

    JPEGs are decoded at 1/2, 1/4 or 1/8 where the part still has `side` pixels then: that is Pillow's draft mode,
    which scales in the frequency domain. PyTorch scales the rest, bilinear and antialiased, to within rounding of what
    Pillow does, in a third of the time. Raises OSError and its like when the file cannot be read.
    """
    with open_bounded(Path(path), "image", LARGEST_IMAGE) as file, Image.open(file) as image:
        width, height = image.size
        left, top, w, h = draw_box(width, height, draw)
        flipped = draw.random() < HALF
        image.draft("RGB", (math.ceil(width * side / w), math.ceil(height * side / h)))
        pixels = _rgb(image)
        x, y = pixels.width / width, pixels.height / height
        part = pixels.crop((int(left * x), int(top * y), math.ceil((left + w) * x), math.ceil((top + h) * y)))
        if flipped:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _scaled(np.array(part), side)


def centre_crop(path: Path | str, side: int) -> np.ndarray:
    """Return the middle of the resized image, uint8 (3, side, side).

    Its shorter side is resized to 256/224 of `side`: bit for bit torchvision's Resize and CenterCrop of a Pillow image.
    Raises OSError and its like.
    """
    with open_bounded(Path(path), "image", LARGEST_IMAGE) as file, Image.open(file) as image:
        pixels = _rgb(image)
    short = round(side * RESIZED)
    width, height = pixels.size
    scaled = (short, short * height // width) if width <= height else (short * width // height, short)
    if scaled != pixels.size:
        pixels = pixels.resize(scaled, Image.Resampling.BILINEAR)
    left, top = round((scaled[0] - side) / 2), round((scaled[1] - side) / 2)
    return np.asarray(pixels.crop((left, top, left + side, top + side))).transpose(2, 0, 1)


def _scaled(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8 (height, width, 3) -> (3, side, side)."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return interpolate(image, size=(side, side), mode="bilinear", antialias=True)[0].numpy()


def _rgb(image: Image.Image) -> Image.Image:
    """Decoded; a conversion would copy even what is RGB already."""
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _between(ends: tuple[float, float], draw: Random) -> float:
    return ends[0] + (ends[1] - ends[0]) * draw.random()
