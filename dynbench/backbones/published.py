"""Weights by torchvision's names, as `ResNet50_Weights.IMAGENET1K_V2`.

They are files that torchvision publishes, kept where it keeps them.

Their file names end in the first digits of their SHA-256, which stand for them before they are there.
"""

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

from dynbench.errors import UserError, did_you_mean

NAME = re.compile(r"\w+_Weights\.\w+")
DIGEST = re.compile(r"-([0-9a-f]{8,})\.\w+$")


def is_name(path: Path) -> bool:
    """Return whether `path` is such a name, and no file."""
    return NAME.fullmatch(str(path)) is not None and not path.exists()


def published_sha256(name: str) -> str:
    """Return the first digits, in hex, of the SHA-256 of these weights' file. Raises UserError for an unknown name."""
    found = DIGEST.search(_url(name))
    if found is None:
        raise UserError(f"weights {name} have no checksum in {_url(name)}; download the file and give its path")
    return found.group(1)


def published_file(name: str) -> Path:
    """Return the file of these weights, downloaded if it is not there.

    Raises UserError for an unknown name, a download that fails and a file that is not what was published.
    """
    from torch.hub import get_dir

    url, digest = _url(name), published_sha256(name)
    path = Path(get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        _download(name, url, path, digest)
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest):
        raise UserError(f"weights {path} are not the published {name}: their checksum differs; delete the file")
    return path


def _download(name: str, url: str, path: Path, digest: str) -> None:
    from torch.hub import download_url_to_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(url, str(path), digest, progress=False)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError for a wrong checksum
        reason = error.reason if isinstance(error, URLError) else error
        raise UserError(f"cannot download {name}: {reason}; put {url} into {path.parent}") from error


def _url(name: str) -> str:
    from torchvision.models import get_model_weights as weights_of
    from torchvision.models import get_weight, list_models

    try:
        found: Any = get_weight(name)
    except (KeyError, ValueError) as error:
        known = [f"{kind.__name__}.{one}" for kind in map(weights_of, list_models()) for one in kind.__members__]
        raise UserError(f'torchvision has no weights "{name}"; {did_you_mean(name, known)}') from error
    return str(found.url)
