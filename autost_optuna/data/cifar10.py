"""CIFAR-10 from its public Python layout, read without torchvision and without trusting the pickles."""

import io
import pickle
from pathlib import Path
from typing import Any

from autost_optuna.data.dataset import Dataset, Normalisation, Split

FOLDER = "cifar-10-batches-py"
NORMALISATION = Normalisation(scale=255.0, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
SOURCE = "cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html"

# All that a pickled numpy array of bytes and a list of labels need; a pickle may otherwise call any function.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Refuses every global but those that rebuild numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR-10 batch needs")
        return super().find_class(module, name)


def load(root: Path) -> Dataset:
    """The 50,000 training and 10,000 test images under `root`, or under `root`/cifar-10-batches-py."""
    folder = root / FOLDER if (root / FOLDER).is_dir() else root
    return Dataset(
        name="cifar10",
        train=_split(folder, [f"data_batch_{i}" for i in range(1, 6)]),
        test=_split(folder, ["test_batch"]),
        num_classes=10,
        normalisation=NORMALISATION,
    )


def _split(folder: Path, names: list[str]) -> Split:
    import numpy as np

    batches = [_batch(folder / name) for name in names]
    return Split(
        images=np.concatenate([images for images, _ in batches]).reshape(-1, 3, 32, 32),
        labels=np.concatenate([labels for _, labels in batches]),
    )


def _batch(path: Path) -> tuple[Any, Any]:
    """Pixels [n, 3072] and labels [n] of one batch file."""
    import numpy as np

    try:
        content = path.read_bytes()
    except OSError:
        raise ValueError(
            f"no CIFAR-10 batch at {path}; download {SOURCE} and give the folder that holds {FOLDER} as --data-root"
        ) from None
    try:
        # latin1: the original pickles come from Python 2, whose strings hold the arrays' bytes.
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        pixels, labels = batch["data"], np.asarray(batch["labels"], dtype=np.int64)
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise _damaged(path, str(error) or type(error).__name__) from None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072):
        raise _damaged(path, "its arrays have another form")
    if not len(labels) or labels.min() < 0 or labels.max() > 9:
        raise _damaged(path, "its labels are not classes 0 to 9")
    return pixels, labels


def _damaged(path: Path, reason: str) -> ValueError:
    reason = " ".join(reason.split())
    return ValueError(f"{path} is truncated or not a CIFAR-10 batch ({reason}); download {SOURCE} again")
