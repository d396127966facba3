"""Images of your own, or ImageNet's: a folder for training and one for test, and in each a folder for every class.

`DIR/train/<class>/*.png` and `DIR/test` or `DIR/val` alike; classes are counted in the order of their folders' names. An image
is read when it is asked for: scaled so that its shorter side has the task's size, bilinear, and cut to its centre.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from autost_optuna.data.dataset import Dataset, Normalisation, Pixels, Split, on_demand, reason_of

NORMALISATION = Normalisation(scale=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # ImageNet's
ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
LAYOUT = "train/<class>/*.png (or .jpg) and test/<class>/*.png"


def load(root: Path, size: int) -> Dataset:
    """The images under `root`/train and `root`/test (or val), each made [3, size, size] when it is asked for."""
    train = root / "train"
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), root / "test")
    for folder in (train, test):
        if not folder.is_dir():
            raise ValueError(f"no folder {folder}; put your images into DIR/{LAYOUT}, and give DIR as --data-root")
    classes, there = _classes(train), _classes(test)
    if classes != there:
        odd = sorted(set(classes) ^ set(there))[0]
        raise ValueError(f"class {odd} is in one of {train} and {test} alone; give both the same folders of classes")
    return Dataset(
        name="imagefolder",
        train=_split(train, classes, size),
        test=_split(test, classes, size),
        num_classes=len(classes),
        normalisation=NORMALISATION,
    )


def read(path: Path, size: int) -> Pixels:
    """An image [3, size, size] of its middle square. ValueError where the file is damaged or no image."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * size, 2 * size))  # of a large JPEG, decodes no more than twice what is needed
            square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    except Exception as error:  # a damaged file can raise nearly anything
        raise ValueError(f"{path} is truncated or no image ({reason_of(error)}); put it right or take it out") from None
    pixels: Pixels = np.asarray(square).transpose(2, 0, 1)
    return pixels


def _classes(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))


def _split(folder: Path, classes: list[str], size: int) -> Split:
    found = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    ]
    if not found:
        raise ValueError(f"no images in the folders of {folder}; put them into DIR/{LAYOUT}")
    return on_demand(found, functools.partial(_read_all, size))


def _read_all(size: int, paths: Any) -> Pixels:
    import numpy as np

    pixels = np.empty((len(paths), 3, size, size), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without Python's lock
        for index, image in enumerate(pool.map(functools.partial(read, size=size), paths)):
            pixels[index] = image
    return pixels
