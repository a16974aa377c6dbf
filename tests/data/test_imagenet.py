"""ImageNet and its like: layouts, classes, what is held out, what is refused."""

import random
from itertools import pairwise
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import ImageFolder
from torchvision.datasets import imagenet as theirs
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from dynbench.data import dataset_info, imagenet, load_data
from dynbench.data.devkit import flat_validation
from dynbench.data.folders import hold_out_of_each, in_place, list_classes
from dynbench.data.image_files import in_batches
from dynbench.data.split import TestSplit
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import DataSpec
from tests.conftest import Call
from tests.helpers.pictures import WNIDS, class_folders
from tests.helpers.small import CPU, SHARED

SIDE = 16


def folder(root: Path, **given: object) -> DataSpec:
    return DataSpec(name="imagefolder", root=root, side=SIDE, **{"classes": 3, "training_images": 15, **given})


@pytest.fixture
def small_imagenet(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet has three classes, and as many images as `class_folders` makes of them."""
    for name, value in (("CLASSES", 3), ("TRAIN_IMAGES", 15), ("VAL_IMAGES", 6), ("HELD", 1)):
        monkeypatch.setattr(imagenet, name, value)


# Folders of classes


def test_classes_are_numbered_as_torchvision_does(tmp_path: Path) -> None:
    data = load_data(folder(class_folders(tmp_path)))
    theirs = ImageFolder(str(tmp_path / "val"))
    assert data.shape == dataset_info(folder(tmp_path)).shape == (3, SIDE, SIDE)
    test = data.test.read()
    files = in_place(list_classes(tmp_path, "val"))
    expected = {Path(path).name: label for path, label in theirs.samples}
    assert test.labels.tolist() == [expected[file.name] for file in files]
    assert len(test) == 6


def test_so_many_images_of_each_class_are_held_out_by_their_names_alone(tmp_path: Path) -> None:
    files = list_classes(class_folders(tmp_path), "train")
    kept, out = hold_out_of_each(files, 2)
    assert sorted([*kept, *out], key=str) == sorted(files, key=str)
    assert [sum(file.kind == kind for file in out) for kind in WNIDS] == [2, 2, 2]
    shuffled = random.Random(0).sample(files, len(files))
    assert hold_out_of_each(shuffled, 2) == (kept, out)
    fewer = [file for file in files if file.kind != WNIDS[0]]
    assert hold_out_of_each(fewer, 2)[1] == [file for file in out if file.kind != WNIDS[0]]
    # Stored results hang on it: these names must not change.
    assert sorted(file.name for file in out if file.kind == WNIDS[0]) == ["n01440764_1.JPEG", "n01440764_3.JPEG"]


def test_validation_comes_out_of_train_and_not_evenly_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path)
    data = load_data(folder(tmp_path, validation=6))
    assert (len(data.train), len(data.validation)) == (9, 6)
    assert torch.bincount(data.validation.labels).tolist() == [2, 2, 2]
    everything = torch.cat([data.train.images[:], data.validation.images[:]])
    assert len(everything.flatten(1).unique(dim=0)) == 15
    assert len(load_data(folder(tmp_path)).validation) == dataset_info(folder(tmp_path)).validation == 3
    with pytest.raises(UserError, match="4 images cannot be held out evenly of 3 classes; take a multiple of 3"):
        load_data(folder(tmp_path, validation=4))
    with pytest.raises(UserError, match="class n01440764 has 5 training images, 5 of each class are held out"):
        load_data(folder(tmp_path, validation=15))


def test_neighbouring_images_are_not_of_one_class(tmp_path: Path) -> None:
    kinds = [file.kind for file in in_place(list_classes(class_folders(tmp_path, train=40), "train"))]
    assert 60 < sum(one != other for one, other in pairwise(kinds)) < 100


def test_what_is_declared_must_be_there(tmp_path: Path) -> None:
    class_folders(tmp_path)
    for given, message in (
        ({"classes": 4}, "train has 3 classes with images in them, 4 expected"),
        ({"training_images": 16}, "train has 15 images, 16 expected"),
        ({"root": tmp_path / "val"}, "imagefolder is not in .*val: it has no folder train; name the right one"),
    ):
        with pytest.raises(UserError, match=message):
            load_data(folder(tmp_path, **given) if "root" not in given else folder(tmp_path / "val"))
    (tmp_path / "val" / WNIDS[2]).rename(tmp_path / "val" / "n99999999")
    with pytest.raises(UserError, match="class n15075141 is in one of train and val only, as are 1 more"):
        load_data(folder(tmp_path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "imagefolder"}, "imagefolder may hold anything: data.classes and data.training_images have to say"),
        ({"name": "digits", "side": 16}, "data.side: images of digits are 8 pixels wide and are not cropped"),
        (
            {"name": "imagenet", "classes": 10},
            "imagenet has 1000 classes; leave out data.classes and data.train",
        ),
    ],
)
def test_what_a_suite_cannot_say(spec: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataset_info(DataSpec.model_validate(spec))


# ImageNet


def test_a_part_of_imagenet_is_not_imagenet(tmp_path: Path) -> None:
    class_folders(tmp_path)
    with pytest.raises(UserError, match=r"train has 3 classes, ImageNet has 1000; .* name it as data: {name: imagefo"):
        load_data(DataSpec(name="imagenet", root=tmp_path))


@pytest.mark.usefixtures("small_imagenet")
def test_counts_that_deviate_are_told(tmp_path: Path) -> None:
    class_folders(tmp_path)
    assert load_data(DataSpec(name="imagenet", root=tmp_path)).notes == ()
    (tmp_path / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG").unlink()
    (tmp_path / "val" / WNIDS[1] / "more.JPEG").write_bytes(b"")
    assert load_data(DataSpec(name="imagenet", root=tmp_path)).notes == (
        "ImageNet has 15 training images, here are 14",
        "ImageNet has 6 validation images, here are 7",
    )


def devkit(root: Path, truth: list[int]) -> None:
    """The devkit's two files for WNIDS, in an order of its own and beside a synset with children."""
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    more = [("children", "O"), ("wordnet_height", "O"), ("num_train_images", "O")]
    names = [WNIDS[2], WNIDS[0], WNIDS[1], "n00000001"]
    rows = [(i + 1, wnid, wnid, wnid, int(i == 3), 0, 0, 1300) for i, wnid in enumerate(names)]
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": np.array(rows, dtype=[*kind, *more])})
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in truth))


def flatten(root: Path) -> None:
    for path in (root / "val").glob("*/*"):
        path.rename(root / "val" / path.name)
    for empty in (root / "val").iterdir():
        if empty.is_dir():
            empty.rmdir()


@pytest.mark.usefixtures("small_imagenet")
def test_the_flat_validation_folder_is_the_sorted_one(tmp_path: Path) -> None:
    spec = DataSpec(name="imagenet", root=class_folders(tmp_path), side=SIDE)
    sorted_one = load_data(spec).test.read()
    expected = sorted_one.images[:]
    flatten(tmp_path)
    with pytest.raises(UserError, match="holds images without class folders, whose labels are in the devkit: unpack"):
        load_data(spec)
    devkit(tmp_path, [2, 2, 3, 3, 1, 1])
    flat = load_data(spec).test.read()
    assert torch.equal(flat.labels, sorted_one.labels)
    assert torch.equal(flat.images[:], expected)


def test_the_devkit_is_read_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devkit(tmp_path, [2, 3, 1, 1, 2])
    unpacked = "ILSVRC2012_devkit_t12"
    monkeypatch.setattr(theirs, "_verify_archive", lambda *_: None)
    monkeypatch.setattr(theirs, "extract_archive", lambda _, to: copytree(tmp_path / unpacked, Path(to) / unpacked))
    theirs.parse_devkit_archive(str(tmp_path))
    _, wnids = torch.load(tmp_path / "meta.bin")
    names = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 6)]
    assert [file.kind for file in flat_validation(tmp_path, names)] == wnids


@pytest.mark.usefixtures("small_imagenet")
def test_a_flat_image_without_a_class_is_named(tmp_path: Path) -> None:
    flatten(class_folders(tmp_path))
    devkit(tmp_path, [2, 2, 3, 3, 1])
    with pytest.raises(UserError, match=r"val/ILSVRC2012_val_00000006.JPEG has no class in .*ground_truth.txt"):
        load_data(DataSpec(name="imagenet", root=tmp_path))


def test_mobilenet_on_the_real_sample_answers_as_behind_torchvisions_transforms() -> None:
    """All of it, through the suite's own evaluation, takes a minute: here are every tenth image's answers."""
    weights, root = SHARED / "weights" / "mobilenet_v2-b0353104.pth", SHARED / "imagenet-sample"
    if not (weights.is_file() and root.is_dir()):
        pytest.skip(f"no {weights} or no {root}")
    model = mobilenet_v2().eval()
    model.load_state_dict(torch.load(weights))
    data = load_data(DataSpec(name="imagenet-sample", root=root))
    test = data.test.read()
    chosen = torch.arange(0, 1000, 10)
    files = in_place(list_classes(root))
    reference = MobileNet_V2_Weights.IMAGENET1K_V1.transforms(antialias=True)
    with torch.inference_mode():
        found = model(data.normalise(CPU)(test.images[chosen]))
        expected = model(torch.stack([reference(Image.open(root / files[i].path).convert("RGB")) for i in chosen]))
    assert torch.allclose(found, expected, atol=1e-3)
    assert (found.argmax(1) == test.labels[chosen]).float().mean() > 0.7


# Whole runs

SUITE = """\
name: folder
data: {{name: imagefolder, root: {root}, classes: 2, training_images: 12, side: 16}}
backbones: [{{name: resnet8, width: 0.25}}]
recipe: {{epochs: 1, batch_size: 4, optimizer: {{name: sgd, lr: 0.05}}}}
methods: [dense]
tracking: none
latency: {{images: 2, rounds: 1, batches: [1]}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.format(root=class_folders(tmp_path / "data", train=6, val=4, kinds=WNIDS[:2])))
    return path


def test_a_run_on_folders_trains_evaluates_and_is_timed(suite: Path, tmp_path: Path, call: Call) -> None:
    result = call("run", suite, "--results", tmp_path / "results")
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "results" / "records").glob("*.json")
    record = ResultsFolder(tmp_path / "results").read(path.stem)
    assert record is not None
    assert [stage.images for stage in record.budget.stages] == [8]
    (point,) = record.points
    assert point.audited
    assert point.audit_images == 2 + 8  # all that were held out, and test images drawn by the run's id
    assert point.latency is not None
    assert "no image" not in result.output


def test_a_damaged_image_ends_the_run_with_one_line(suite: Path, tmp_path: Path, call: Call) -> None:
    (broken, *_) = (tmp_path / "data" / "val" / WNIDS[0]).iterdir()
    broken.write_bytes(b"broken")
    result = call("run", suite, "--no-latency", "--results", tmp_path / "results")
    assert result.exit_code == 2, result.output
    assert f"cannot decode {broken} (it is not an image); put a complete copy there" in result.output
    assert not list((tmp_path / "results").glob("records/*.json"))


def test_the_test_split_is_not_read_before_the_end(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TestSplit, "read", lambda self: pytest.fail("the test split was read"))
    data = load_data(DataSpec(name="imagefolder", root=suite.parent / "data", classes=2, training_images=12, side=8))
    assert len(list(in_batches(data.validation.images, 2))) == 1
    assert data.normalise(CPU)(data.train.images[:2]).shape == (2, 3, 8, 8)
