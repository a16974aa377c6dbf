"""Classes of ILSVRC2012's validation images as they are distributed: in one folder, with a file of numbers."""

from pathlib import Path

from dynbench.data.folders import Listed
from dynbench.errors import UserError

TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
FOLDERS = ("ILSVRC2012_devkit_t12/data", "devkit/data", "data", ".")


def flat_validation(root: Path, names: list[str]) -> list[Listed]:
    """Return the validation images, `names`, with the WNIDs that the devkit gives them.

    Names are `val/ILSVRC2012_val_00000001.JPEG` and so on.

    Raises UserError when the devkit is missing, or does not fit the images.
    """
    folder = _devkit(root)
    wnids = _wnids(folder / META)
    truth = _numbers(folder / TRUTH)
    return [Listed(_class_of(name, truth, wnids, folder), name, f"val/{name}") for name in names]


def _devkit(root: Path) -> Path:
    for name in FOLDERS:
        if (root / name / TRUTH).is_file() and (root / name / META).is_file():
            return root / name
    raise UserError(
        f"{root / 'val'} holds images without class folders, whose labels are in the devkit: unpack "
        f"ILSVRC2012_devkit_t12.tar.gz in {root} (its data folder has {TRUTH} and {META}), or sort the images into "
        "val/WNID/"
    )


def _wnids(path: Path) -> dict[int, str]:
    """WNID by ILSVRC2012_ID, of the synsets that have no children: the 1,000 classes."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(str(path), squeeze_me=True)["synsets"]
        return {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if int(s["num_children"]) == 0}
    except Exception as error:  # whatever scipy raises on a file that is none
        raise UserError(f"cannot read {path} ({error}); unpack the devkit again") from error


def _numbers(path: Path) -> list[int]:
    """The ILSVRC2012_ID of each validation image, in the order of their numbers."""
    try:
        return [int(line) for line in path.read_text().split()]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); unpack the devkit again") from error


def _class_of(name: str, truth: list[int], wnids: dict[int, str], folder: Path) -> str:
    number = Path(name).stem.rpartition("_")[2]
    if not number.isdecimal() or not 0 < int(number) <= len(truth) or truth[int(number) - 1] not in wnids:
        raise UserError(f"val/{name} has no class in {folder / TRUTH}; its name should be as distributed")
    return wnids[truth[int(number) - 1]]
