"""Image files as cameras, microscopes and scanners write them: every mode by its range, upright, and every class present."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from makers import write_images
from PIL import Image

from autost_optuna import Task
from autost_optuna.data import imagefolder, load

CIFAR10 = Task.preset("cifar10")
RAMP = np.array([[0, 64], [128, 255]], np.uint8)  # an image of two by two pixels, as 8 bits
DEEP = RAMP.astype(np.uint16) * 257  # the same in 16 bits
COLOUR = (200, 30, 60)


def grey(path):
    """The pixels of an image of two by two, which has three equal channels."""
    pixels = imagefolder.read(path, 2)
    assert np.array_equal(pixels[0], pixels[1])
    assert np.array_equal(pixels[0], pixels[2])
    return pixels[0].tolist()


def png(width, height, bits, kind, rows=b"", transparent=b""):
    """A PNG file of the given bits per sample and kind of colour; it may lack its pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    key = chunk(b"tRNS", transparent) if transparent else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(data, bits, sample_format=1, photometric=1, order="<"):
    """A grey TIFF of two by two pixels; sample formats are 1 unsigned, 2 signed, 3 float, photometric 0 has white at 0."""
    tags = {
        256: 2,
        257: 2,
        258: bits,
        259: 1,
        262: photometric,
        273: 8 + 2 + 12 * 10 + 4,
        277: 1,
        278: 2,
        279: len(data),
        339: sample_format,
    }
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags.items())
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IH", 8, len(tags)) + entries + struct.pack(order + "I", 0) + data


# Ranges.

SAME = {  # files of RAMP
    "16-bit.png": lambda path: Image.fromarray(DEEP).save(path),
    "16-bit.tif": lambda path: Image.fromarray(DEEP).save(path),
    "big-endian.tif": lambda path: path.write_bytes(tiff(DEEP.astype(">u2").tobytes(), 16, order=">")),
    "white-is-zero.tif": lambda path: path.write_bytes(tiff((65535 - DEEP).tobytes(), 16, photometric=0)),
    "white-is-zero-8.tif": lambda path: path.write_bytes(tiff((255 - RAMP).tobytes(), 8, photometric=0)),
    "float.tif": lambda path: Image.fromarray(RAMP.astype(np.float32) / 255).save(path),
    "16-bit.pgm": lambda path: Image.fromarray(DEEP).save(path),
    "1020.pgm": lambda path: path.write_bytes(b"P2 2 2 1020\n0 256\n512 1020\n"),  # of its own white
    "16-bit-colour.png": lambda path: path.write_bytes(
        png(2, 2, 16, 2, b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in DEEP))
    ),
    "16-bit-alpha.png": lambda path: path.write_bytes(
        png(2, 2, 16, 4, b"".join(b"\0" + struct.pack(">4H", *(v for x in row for v in (x, 65535))) for row in DEEP))
    ),
    "8-bit.webp": lambda path: Image.fromarray(RAMP).convert("RGB").save(path, lossless=True),
    "8-bit.bmp": lambda path: Image.fromarray(RAMP).save(path),
    "palette.png": lambda path: Image.fromarray(RAMP).convert("P").save(path),
    "UPPER.TIFF": lambda path: Image.fromarray(RAMP).save(path),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_picture_is_the_same_in_every_depth(tmp_path, name):
    SAME[name](tmp_path / name)
    assert grey(tmp_path / name) == RAMP.tolist()


def test_twelve_bits_by_hand(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(bytes([0x00, 0x0F, 0xFF, 0x80, 0x84, 0x00]), 12))  # 0, 4095; 0x808, 0x400
    assert grey(path) == [[0, 255], [128, 64]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiff(np.array([0, 255, 7, 9], "<u4").tobytes(), 32), "holds 32-bit integers .mode I., where white is unknown"),
        (tiff(np.array([0, -5, 7, 9], "<i4").tobytes(), 32, 2), "holds signed integers .mode I.*save it as a PNG"),
        (tiff(np.array([0, -5, 7, 9], "<i2").tobytes(), 16, 2), "holds signed integers .mode I.*save it as a PNG"),
        (tiff(np.array([0, -5, 7, 9], "i1").tobytes(), 8, 2), "holds signed integers .mode L.*save it as a PNG"),
        (tiff(np.array([0, 1, 300, 9], "<f4").tobytes(), 32, 3), "floats from 0 to 300 .mode F., but black is 0 and"),
        (tiff(np.array([0, -0.1, 1, 1], "<f4").tobytes(), 32, 3), "floats from -0.1 to 1 .mode F"),
        (tiff(np.array([0, np.nan, 1, 1], "<f4").tobytes(), 32, 3), "floats from nan to nan .mode F"),
        (tiff(np.array([0, 1, 1, 1], "<f8").tobytes(), 64, 3), "Pillow does not know its format, or this form of it"),
        (b"", "it is empty"),
        (b"<html>not found</html>", "Pillow does not know its format"),
        (
            png(14_000, 14_000, 8, 2),
            r"is larger than Pillow opens .*196000000 pixels.*; make it smaller or take it out",
        ),
    ],
)
def test_what_has_no_range_of_its_own_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        imagefolder.read(path, 2)
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)
    assert "truncated" not in str(caught.value)


def test_a_large_image_is_not_called_damaged_where_warnings_are_errors(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(10_000, 10_000, 8, 2))  # of so many pixels Pillow only warns
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"is larger than Pillow opens .*100000000 pixels"):
            imagefolder.read(path, 2)


def test_files_that_cannot_be_opened_are_not_called_damaged(tmp_path):
    (tmp_path / "a.png").symlink_to("nowhere.png")
    (tmp_path / "b.png").symlink_to("b.png")
    (tmp_path / "c.png").mkdir()
    for name, said in (("a", "No such file"), ("b", "symbolic links"), ("c", "Is a directory")):
        with pytest.raises(ValueError, match=rf"cannot read .*{name}.png \(.*{said}"):
            imagefolder.read(tmp_path / f"{name}.png", 2)


# Colours and transparency.


@pytest.mark.parametrize("mode", ["RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "P", "PA"])
def test_colours_of_every_mode(mode):
    from PIL import ImageCms

    image = Image.new("RGB", (2, 2), COLOUR)
    if mode == "LAB":
        there, back = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(there, back, "RGB", "LAB"))
    else:
        image = (image.convert("RGBA") if mode == "RGBa" else image.convert("P") if mode == "PA" else image).convert(
            mode
        )
    seen = np.asarray(imagefolder._as_rgb(image))[0, 0].astype(int)
    tolerance = 40 if mode in ("P", "PA") else 3  # of the palette of a browser
    assert abs(seen - COLOUR).max() <= tolerance


def test_an_unknown_mode_is_refused_by_name():
    class Odd(Image.Image):
        mode = "BGR;15"

    with pytest.raises(ValueError, match="is of mode BGR;15, which is not read; save it as a PNG"):
        imagefolder._as_rgb(Odd())


def test_transparent_pixels_lie_on_white(tmp_path):
    # A black stroke on nothing, as drawings have it: under what is transparent the pixels are often black too.
    alpha = np.array([[255, 0], [128, 0]], np.uint8)
    ink = np.zeros((2, 2), np.uint8)
    expected = [[0, 255], [127, 255]]
    Image.fromarray(np.stack([ink, ink, ink, alpha], -1)).save(tmp_path / "rgba.png")
    Image.fromarray(np.stack([ink, alpha], -1)).save(tmp_path / "la.png")
    Image.fromarray(np.stack([ink, ink, ink, alpha], -1)).save(tmp_path / "rgba.tif")
    for name in ("rgba.png", "la.png", "rgba.tif"):
        assert grey(tmp_path / name) == expected, name
    assert np.asarray(imagefolder._as_rgb(Image.fromarray(np.stack([ink, alpha], -1)).convert("La")))[
        ..., 0
    ].tolist() == (expected)
    keyed = Image.fromarray(np.array([[1, 0], [1, 0]], np.uint8)).convert("P")
    keyed.putpalette([0, 0, 0, 9, 9, 9])
    keyed.save(tmp_path / "palette.png", transparency=0)
    assert grey(tmp_path / "palette.png") == [[9, 255], [9, 255]]
    Image.fromarray(RAMP).save(tmp_path / "grey.png", transparency=0)
    assert grey(tmp_path / "grey.png") == [[255, 64], [128, 255]]
    Image.fromarray(DEEP).save(tmp_path / "deep.png", transparency=64 * 257)
    assert grey(tmp_path / "deep.png") == [[0, 255], [128, 255]]


@pytest.mark.parametrize("alpha", [0, 255])
def test_an_alpha_that_says_nothing_changes_nothing(tmp_path, alpha):
    # Of programs that write four channels and leave the last at 0, the picture would be lost.
    channel = np.full((2, 2), alpha, np.uint8)
    Image.fromarray(np.stack([RAMP, RAMP, RAMP, channel], -1)).save(tmp_path / "a.png")
    assert grey(tmp_path / "a.png") == RAMP.tolist()


# Orientation.

TURNS = {2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.transpose(1, 0, 2)}
TURNS |= {6: np.rot90, 7: lambda x: np.rot90(x, 2).transpose(1, 0, 2), 8: lambda x: np.rot90(x, -1)}


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_images_are_turned_upright(tmp_path, orientation, ending):
    """What a camera stored lying is read as it was seen; 0 and 9 are no orientations."""
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20], upright[:, :20] = COLOUR, (0, 200, 0)
    stored = np.ascontiguousarray(TURNS.get(orientation, lambda x: x)(upright))  # what turning back gives `upright`
    exif = Image.Exif()
    exif[imagefolder.ORIENTATION] = orientation
    Image.fromarray(stored).save(tmp_path / f"a.{ending}", exif=exif, quality=95)
    Image.fromarray(upright).save(tmp_path / f"b.{ending}", quality=95)
    seen, meant = (imagefolder.read(tmp_path / f"{name}.{ending}", 10).astype(int) for name in "ab")
    assert abs(seen - meant).max() <= 12  # JPEG's and WebP's own noise
    assert abs(np.rot90(seen, axes=(1, 2)) - meant).max() > 100


def test_a_large_jpeg_is_turned_after_it_was_made_smaller(tmp_path):
    upright = np.zeros((800, 1600, 3), np.uint8)
    upright[:400, 400:1200] = COLOUR  # the upper half of the middle square
    exif = Image.Exif()
    exif[imagefolder.ORIENTATION] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "a.jpg", exif=exif, quality=95)
    seen = imagefolder.read(tmp_path / "a.jpg", 16).astype(int)
    assert abs(seen[:, :7, 1:-1] - np.array(COLOUR)[:, None, None]).max() <= 6
    assert seen[:, 9:].max() <= 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_leaves_the_pixels(tmp_path):
    Image.fromarray(RAMP).convert("RGB").resize((16, 16)).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"
    )
    Image.fromarray(RAMP).convert("RGB").resize((16, 16)).save(tmp_path / "b.jpg")
    assert np.array_equal(imagefolder.read(tmp_path / "a.jpg", 2), imagefolder.read(tmp_path / "b.jpg", 2))


# Classes.


def refused(root, *said):
    with pytest.raises(ValueError, match=said[0]) as caught:
        load("imagefolder", CIFAR10, root)
    for part in said[1:]:
        assert str(part) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_without_images_is_refused_by_its_name(tmp_path, split):
    write_images(tmp_path, names=("ant", "cat", "dog"))
    place = tmp_path / split / "cat"
    for path in place.iterdir():
        if path.suffix.lower() in imagefolder.ENDINGS:
            path.rename(path.with_suffix(".gif"))
    refused(tmp_path, "class cat has no images in", place, ".jpg")  # files of other kinds, and hidden ones
    for path in place.iterdir():
        path.unlink()
    refused(tmp_path, "class cat has no images in", place)
    inner = place / "2024" / "may"
    inner.mkdir(parents=True)
    Image.fromarray(RAMP).save(inner / "a.PNG")
    refused(tmp_path, "class cat has images in the subfolder", place / "2024")
    Image.fromarray(RAMP).save(place / "a.png")
    refused(tmp_path, "class cat has images in the subfolder", place / "2024")  # a part of them would be left out
    (inner / "a.PNG").rename(inner / "a.txt")
    assert load("imagefolder", CIFAR10, tmp_path).num_classes == 3


def test_a_folder_without_classes(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.fromarray(RAMP).save(tmp_path / split / "a.png")
    refused(tmp_path, "no class has a folder in .*train; put your images into DIR/train/<class>")


def test_what_systems_leave_behind_is_no_class_and_no_image(tmp_path):
    write_images(tmp_path)
    expected = load("imagefolder", CIFAR10, tmp_path)
    for split in ("train", "test"):
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
            (tmp_path / split / name).mkdir()
            (tmp_path / split / name / "a.png").write_bytes(b"no image")
        (tmp_path / split / "cat" / "@eaDir" / "a.png").mkdir(parents=True)
        (tmp_path / split / "cat" / "@eaDir" / "a.png" / "thumbnail.jpg").write_bytes(b"no image")
        for name in ("._a.png", "._b.JPG", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (tmp_path / split / "cat" / name).write_bytes(b"no image")
    found = load("imagefolder", CIFAR10, tmp_path)
    assert found.num_classes == 2
    assert found.fingerprint() == expected.fingerprint()


def test_names_with_spaces_accents_and_links(tmp_path):
    """macOS spells é as e and an accent; a copy of a folder made elsewhere has the same class under the other spelling."""
    composed, decomposed = "caf\u00e9 noir", "cafe\u0301 noir"
    write_images(tmp_path / "there", names=("zoo",))
    for split, name in (("train", composed), ("test", decomposed)):
        folder = tmp_path / split / name
        folder.mkdir(parents=True)
        Image.fromarray(RAMP).save(folder / "ein \u00dcberblick 1.PNG")
        (tmp_path / split / "zoo").symlink_to(tmp_path / "there" / split / "zoo")
    found = load("imagefolder", CIFAR10, tmp_path)
    assert (found.num_classes, found.train.labels.tolist(), found.test.labels.tolist()) == (2, [0, 1, 1], [0, 1, 1])
    assert found.train.images[:].shape == (3, 3, 32, 32)
    (tmp_path / "train" / decomposed).mkdir()
    refused(tmp_path, "has two folders in .*train, spelled in two ways; merge them")


def test_a_class_that_is_empty_ends_the_command_line_in_one_line(cli, tmp_path):
    write_images(tmp_path / "images", names=("ant", "cat"))
    for path in (tmp_path / "images" / "test" / "ant").iterdir():
        path.unlink()
    ended = cli("study", "create", "own", "--space", "tiny", "--task", "imagenet", "--data-root", "images")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: class ant has no images in images/test/ant (")
    assert ended.stderr.count("\n") == 1
