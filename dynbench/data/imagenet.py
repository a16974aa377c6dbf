"""ImageNet (ILSVRC2012; Russakovsky et al., arXiv 1409.0575) and other images in folders of classes.

Three data sets, so that a figure from a part of ImageNet cannot be taken for one of ImageNet:

- `imagenet`: `train/WNID/*.JPEG` and `val/WNID/*.JPEG`, or `val/*.JPEG` with the devkit beside it. 1,000 classes, or an
  error. 10 images of each class are held out of train for validation, by the rule of `dynbench.data.folders`; the test
  split is `val`.
- `imagefolder`: the same folders with any classes, whose number and that of the training images the suite declares.
- `imagenet-sample`: one folder of `WNID/*.JPEG`, one image a class, for trying whether things work. It is tested on all
  of its images, and trained on most of these: its accuracy says nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path

from dynbench.data.catalogue import CLASSES, HELD, SIDE, TRAIN_IMAGES, VAL_IMAGES, folder_validation
from dynbench.data.devkit import flat_validation
from dynbench.data.folders import Listed, class_names, hold_out_of_each, in_place, list_classes, list_images, make_split
from dynbench.data.split import RawData, Split
from dynbench.errors import UserError
from dynbench.suite.schema import DataSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_imagenet(spec: DataSpec) -> RawData:
    """Load ImageNet from its folder.

    Raises UserError when a folder, a class or the devkit is missing. Counts that deviate from ILSVRC2012's are noted.
    """
    root = _root(spec, "train")
    train = list_classes(root, "train")
    val = _validation(root)
    for folder, files in (("train", train), ("val", val)):
        found = len(class_names(files))
        if found != CLASSES:
            raise UserError(
                f"{root / folder} has {found} classes, ImageNet has {CLASSES}; a part of it is not ImageNet: name it "
                "as data: {name: imagefolder}"
            )
    notes = [*_deviation("training", len(train), TRAIN_IMAGES), *_deviation("validation", len(val), VAL_IMAGES)]
    return _divided(spec, root, train, val, HELD * CLASSES, tuple(notes))


def load_folder(spec: DataSpec) -> RawData:
    """Load images from a folder.

    Raises UserError when a folder is missing, or holds something other than the suite declares.
    """
    root = _root(spec, "train")
    train, val = list_classes(root, "train"), list_classes(root, "val")
    classes, images = spec.classes or 0, spec.training_images or 0
    _expect(root / "train", train, classes, images)
    _expect(root / "val", val, classes)
    return _divided(spec, root, train, val, folder_validation(classes, images))


def load_sample(spec: DataSpec) -> RawData:
    """Load the sample of ImageNet.

    Raises UserError when the folder is missing or does not hold one image of each of 1,000 classes.
    """
    root = _root(spec, "n01440764")
    files = in_place(list_classes(root))
    _expect(root, files, CLASSES, CLASSES)
    kinds, side = class_names(files), spec.side or SIDE
    held = spec.validation or CLASSES // 10
    if held >= len(files):
        raise UserError(f"validation must be less than the {len(files)} images of {spec.name}, got {held}")
    return _raw(
        lambda part: make_split(root, part, kinds, side),
        files[held:],
        files[:held],
        lambda: files,
        ("imagenet-sample is tested on images that it trains on: its accuracy says nothing",),
    )


def _divided(
    spec: DataSpec, root: Path, train: list[Listed], val: list[Listed], default: int, notes: tuple[str, ...] = ()
) -> RawData:
    """Training images of each class held out for validation; `val` is the test split."""
    kinds = class_names(train)
    if class_names(val) != kinds:
        missing = sorted(set(kinds).symmetric_difference(class_names(val)))
        raise UserError(f"{root}: class {missing[0]} is in one of train and val only, as are {len(missing) - 1} more")
    held, rest = divmod(spec.validation or default, len(kinds))
    if rest:
        raise UserError(
            f"data.validation: {spec.validation} images cannot be held out evenly of {len(kinds)} classes; take a "
            f"multiple of {len(kinds)}"
        )
    kept, out = hold_out_of_each(train, held)
    side = spec.side or SIDE
    return _raw(lambda part: make_split(root, part, kinds, side), kept, out, lambda: in_place(val), notes)


def _raw(
    split: Callable[[list[Listed]], Split],
    train: list[Listed],
    validation: list[Listed],
    test: Callable[[], list[Listed]],
    notes: tuple[str, ...],
) -> RawData:
    return RawData(
        train=split(train),
        test=lambda: split(test()),
        mean=MEAN,
        std=STD,
        validation=split(validation),
        notes=notes,
    )


def _root(spec: DataSpec, wanted: str) -> Path:
    """The folder that holds `wanted`. Raises UserError when there is none."""
    root = spec.root or Path(os.environ.get("DYNBENCH_DATA", "data"))
    if not (root / wanted).is_dir():
        raise UserError(f"{spec.name} is not in {root}: it has no folder {wanted}; name the right one with --data")
    return root


def _validation(root: Path) -> list[Listed]:
    """Of `val/WNID/*.JPEG`, or of `val/*.JPEG` and the devkit."""
    flat = list(list_images(root, "val"))
    return flat_validation(root, flat) if flat else list_classes(root, "val")


def _expect(folder: Path, files: list[Listed], classes: int, images: int | None = None) -> None:
    found = len(class_names(files))
    if found != classes:
        raise UserError(f"{folder} has {found} classes with images in them, {classes} expected")
    if images is not None and len(files) != images:
        raise UserError(f"{folder} has {len(files)} images, {images} expected")


def _deviation(what: str, found: int, expected: int) -> list[str]:
    return [] if found == expected else [f"ImageNet has {expected:,} {what} images, here are {found:,}"]
