"""The handwritten digits that scikit-learn ships: 1,797 real 8x8 images of 17 grey levels, nothing to download."""

from functools import cache
from typing import TYPE_CHECKING

from autost_optuna.data.dataset import Dataset, Normalisation, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEST_SHARE = 0.2
NORMALISATION = Normalisation(scale=16.0, mean=(0.305,), std=(0.376,))


def load() -> Dataset:
    """The digits; a fixed shuffle holds out a fifth of them as test, because the file lists one writer after another."""
    import numpy as np

    images, labels = _read()
    order = np.random.default_rng(0).permutation(len(labels))
    held = round(TEST_SHARE * len(labels))
    test, train = order[:held], order[held:]
    return Dataset(
        name="digits",
        train=Split(images=images[train], labels=labels[train]),
        test=Split(images=images[test], labels=labels[test]),
        num_classes=10,
        normalisation=NORMALISATION,
    )


@cache
def _read() -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Images [1797, 1, 8, 8] and labels [1797] of scikit-learn's text file, which takes a tenth of a second to parse."""
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.uint8)[:, None], bunch.target.astype(np.int64)
