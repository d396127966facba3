"""CIFAR-10 and CIFAR-100 in their public Python layouts, read without torchvision and without trusting the pickles."""

import contextlib
import io
import os
import pickle
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autost_optuna.data.dataset import Dataset, Normalisation, Split, damaged, reason_of

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A published set of 60,000 images of 32x32 pixels: its files, and the keys of their labels.

    `title` without its hyphen is also the name of torchvision's class.
    """

    title: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    labels: str
    num_classes: int
    normalisation: Normalisation

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.title.replace("-", "").lower()

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        return f"{self.archive} from {PAGE}"


CIFAR10 = Release(
    title="CIFAR-10",
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test="test_batch",
    labels="labels",
    num_classes=10,
    normalisation=Normalisation(scale=255.0, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
)
CIFAR100 = Release(
    title="CIFAR-100",
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test="test",
    labels="fine_labels",  # of the 100 classes; the files also have 20 coarse ones
    num_classes=100,
    normalisation=Normalisation(scale=255.0, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
)
RELEASES = {release.name: release for release in (CIFAR10, CIFAR100)}

# All that pickles of numpy's arrays and numbers need. Without this list a pickle could call any function.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Refuses all globals except those that rebuild numpy's arrays and numbers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return _bytes
        module = module.replace("numpy.core.", "numpy._core.")  # its name before numpy 2, where it warns
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")
        return super().find_class(module, name)


def _bytes(text: str, encoding: str) -> bytes:
    """The bytes that a pickle stores as text. ValueError if it asks for any other encoding."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it asks for the encoding {encoding!r}, which no batch of images needs")
    return text.encode("latin1")


def load(release: Release, root: Path, *, download: bool = False) -> Dataset:
    """The 50,000 training and 10,000 test images under `root`, or in the folder there with the release's name.

    `download` fetches them into that folder if it does not exist yet.
    """
    if download and not (root / release.folder).exists() and not (root / release.test).exists():
        fetch(release, root)
    folder = root / release.folder if (root / release.folder).is_dir() else root
    return Dataset(
        name=release.name,
        train=_split(release, folder, release.train),
        test=_split(release, folder, (release.test,)),
        num_classes=release.num_classes,
        normalisation=release.normalisation,
    )


def fetch(release: Release, root: Path) -> None:
    """Download a release into `root`, completely or not at all, with torchvision, which checks the archive's md5.

    ValueError if torchvision cannot be imported, as beside another build of torch; RuntimeError if the download fails.
    """
    by_hand = (
        f"download {release.source} by hand and unpack it, so that {root / release.folder / release.test} is there"
    )
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError, OSError) as error:
        raise ValueError(f"torchvision cannot be imported here ({reason_of(error)}); {by_hand}") from None
    try:
        root.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{release.folder}.", dir=root))
    except OSError as error:
        raise ValueError(f"cannot write to {root} ({error.strerror}); choose another --data-root") from None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            getattr(datasets, release.title.replace("-", ""))(str(part), download=True)
        if not (root / release.folder).exists():  # unless another process was faster
            os.rename(part / release.folder, root / release.folder)
    except Exception as error:  # from the network, the archive or the disk
        raise RuntimeError(f"the download of {release.title} failed ({reason_of(error)}); {by_hand}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _split(release: Release, folder: Path, names: tuple[str, ...]) -> Split:
    import numpy as np

    batches = [_batch(release, folder / name) for name in names]
    return Split(
        images=np.concatenate([images for images, _ in batches]).reshape(-1, 3, 32, 32),
        labels=np.concatenate([labels for _, labels in batches]),
    )


def _batch(release: Release, path: Path) -> tuple[Any, Any]:
    """Pixels [n, 3072] and labels [n] of one batch file."""
    import numpy as np

    def spoilt(reason: str) -> ValueError:
        return damaged(path, f"{release.title} batch", reason, release.source)

    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"no {release.title} batch at {path}; download {release.source} and give the folder that holds "
            f"{release.folder} as --data-root"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); check --data-root") from None
    if not content:
        raise spoilt("it is empty")
    try:
        # latin1: the original pickles come from Python 2, whose strings hold the bytes of the arrays.
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise spoilt(reason_of(error)) from None
    if not isinstance(batch, dict):
        raise spoilt(f"it holds a {type(batch).__name__}, not the arrays of a batch")
    # A pickle that was read with encoding="bytes", as PAGE shows, and saved again has keys of bytes.
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    for key in ("data", release.labels):
        if key not in batch:
            raise spoilt(f"it has no {key}, but {', '.join(map(str, batch)) or 'nothing'}")
    pixels = batch["data"]
    try:
        labels = np.asarray(batch[release.labels], dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise spoilt(f"its {release.labels} are not whole numbers") from None
    if labels.ndim != 1 or not isinstance(pixels, np.ndarray):
        raise spoilt("its data or its labels have another form")
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072):
        raise spoilt(f"its data are {pixels.dtype} of shape {pixels.shape}, not uint8 of {(len(labels), 3072)}")
    if not len(labels) or labels.min() < 0 or labels.max() >= release.num_classes:
        raise spoilt(f"its labels are not classes 0 to {release.num_classes - 1}")
    return pixels, labels
