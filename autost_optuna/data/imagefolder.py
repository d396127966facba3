"""Your own images, or ImageNet's: one folder for training and one for test, each with a folder for every class.

The layout is `DIR/train/<class>/*.png`, and the same in `DIR/test` or `DIR/val`. Classes are numbered in the order of their
folders' names. An image is read on demand: turned upright by its EXIF, scaled bilinearly so that its shorter side has the
task's size, and cropped to its centre. Every mode is scaled by its own range, from black to white: 16-bit grey by 65535,
floats from 0 to 1. Modes without a fixed range, such as 32-bit integers, are refused. Transparent pixels become white. Files
that an operating system hides are left out.
"""

import contextlib
import functools
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna.data.dataset import Dataset, Normalisation, Pixels, Split, hidden, on_demand, reason_of, visible

if TYPE_CHECKING:
    from PIL.Image import Image

NORMALISATION = Normalisation(scale=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # ImageNet's
ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
LAYOUT = "train/<class>/*.png (or .jpg) and test/<class>/*.png"
BYTES = (
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
)  # 8-bit modes
ORIENTATION = 0x0112  # a tag in EXIF and TIFF
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags in TIFF
WHITE_IS_ZERO, SIGNED = 0, 2  # values of the last two
SAVE = "save it as a PNG of 8 or 16 bits"


def load(root: Path, size: int) -> Dataset:
    """The images under `root`/train and `root`/test (or val), each read on demand as [3, size, size].

    ValueError if the two have different classes, or if a class has no images or has some in a subfolder.
    """
    train = root / "train"
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), root / "test")
    for folder in (train, test):
        if not folder.is_dir():
            raise ValueError(f"no folder {folder}; put your images into DIR/{LAYOUT}, and give DIR as --data-root")
    classes, there = _classes(train), _classes(test)
    if not classes:
        raise ValueError(f"no class has a folder in {train}; put your images into DIR/{LAYOUT}")
    if odd := sorted(set(classes) ^ set(there)):
        raise ValueError(f"class {odd[0]} is in only one of {train} and {test}; give both the same folders of classes")
    return Dataset(
        name="imagefolder",
        train=_split([classes[name] for name in classes], size),
        test=_split([there[name] for name in classes], size),
        num_classes=len(classes),
        normalisation=NORMALISATION,
    )


def read(path: Path, size: int) -> Pixels:
    """The middle square of an image, [3, size, size]. ValueError if it is damaged, not an image, or of an unknown range."""
    import numpy as np
    from PIL import Image, ImageOps

    image, orientation = _opened(path, size)
    try:
        image = _as_rgb(image)
    except ValueError as error:
        raise ValueError(f"{path} {error}, or take it out") from None
    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    upright = image if turn is None else image.transpose(turn)
    square = ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR)
    pixels: Pixels = np.asarray(square).transpose(2, 0, 1)
    return pixels


def _opened(path: Path, size: int) -> "tuple[Image, Any]":
    """An image in the mode of its file, and its EXIF orientation, 1 to 8, or None."""
    from PIL import Image, UnidentifiedImageError

    orientation = None
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * size, 2 * size))  # decodes a large JPEG at no more than twice the size needed
            image.load()  # turns a TIFF upright
            with contextlib.suppress(Exception):  # ignore damaged EXIF: the pixels are intact
                orientation = image.getexif().get(ORIENTATION)
            return image, orientation
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = reason_of(error).partition(",")[0]
        raise ValueError(f"{path} is larger than Pillow opens ({reason}); make it smaller or take it out") from None
    except Exception as error:  # a damaged file can raise almost any error
        if isinstance(error, OSError) and error.errno is not None:
            raise ValueError(f"cannot read {path} ({error.strerror}); check --data-root") from None
        reason = reason_of(error)
        if isinstance(error, UnidentifiedImageError):
            reason = "Pillow does not know its format, or this form of it" if path.stat().st_size else "it is empty"
        raise ValueError(f"{path} cannot be read as an image ({reason}); replace it or take it out") from None


def _as_rgb(image: "Image") -> "Image":
    """An image of any mode as 8-bit RGB on white. ValueError with reason and remedy if its range is unknown."""
    from PIL import Image

    if _tag(image, SAMPLE_FORMAT) == SIGNED:
        raise ValueError(f"holds signed integers (mode {image.mode}), where black and white are unknown; {SAVE}")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _as_grey(image)
    elif image.mode not in BYTES:
        raise ValueError(f"is of mode {image.mode}, which is not read; {SAVE}")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    least, most = image.getchannel("A").getextrema()
    if least == 255 or most == 0:  # 0 everywhere: a channel that a program left empty
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _as_grey(image: "Image") -> "Image":
    """Grey of more than 8 bits as L, or as LA if the file declares a transparent value."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F":
        white = 1
        if not (values.min() >= 0 and values.max() <= 1):  # written so that NaN is refused too
            raise ValueError(
                f"holds floats from {values.min():.6g} to {values.max():.6g} (mode F), but black is 0 and white is 1; "
                f"divide by the range of the whole data set, or {SAVE}"
            )
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):  # Pillow fills 16 bits for these two
        raise ValueError(f"holds {_tag(image, BITS) or 32}-bit integers (mode I), where white is unknown; {SAVE}")
    else:
        white = 2 ** (_tag(image, BITS) or 16) - 1
    grey = (values.astype(np.float32) * 255 / white).round().astype(np.uint8)
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow applies it only up to 8 bits
        grey = 255 - grey
    key = image.info.get("transparency")
    if key is None:
        return Image.fromarray(grey)
    return Image.fromarray(np.stack([grey, np.where(values == key, 0, 255).astype(np.uint8)], -1))


def _tag(image: "Image", tag: int) -> Any:
    """The first value of a TIFF tag, or None if the file lacks the tag."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) else value


def _classes(folder: Path) -> dict[str, Path]:
    """The folders of classes by name. macOS and other systems encode accents differently.

    ValueError if two folders have the same name in both encodings.
    """
    found: dict[str, Path] = {}
    for place in visible(folder):
        if place.is_dir() and found.setdefault(unicodedata.normalize("NFC", place.name), place) != place:
            raise ValueError(f"class {place.name} has two folders in {folder}, spelled in two ways; merge them")
    return found


def _split(classes: list[Path], size: int) -> Split:
    found = [(path, label) for label, folder in enumerate(classes) for path in _images(folder)]
    return on_demand(found, functools.partial(_read_all, size))


def _images(folder: Path) -> list[Path]:
    """The images of a class. ValueError names the class if it has none or has some in a subfolder."""
    there = visible(folder)
    images = [path for path in there if _is_image(path)]
    for place in set(there).difference(images):
        if place.is_dir() and any(_is_image(path) for path in place.rglob("*")):
            raise ValueError(
                f"class {folder.name} has images in the subfolder {place}; move them into {folder}, or out of it"
            )
    if not images:
        raise ValueError(
            f"class {folder.name} has no images in {folder} ({', '.join(ENDINGS)}); add some, or take out the folder"
        )
    return images


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not hidden(path.name)


def _read_all(size: int, paths: Any) -> Pixels:
    import numpy as np

    pixels = np.empty((len(paths), 3, size, size), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases Python's lock while it decodes
        for index, image in enumerate(pool.map(functools.partial(read, size=size), paths)):
            pixels[index] = image
    return pixels
