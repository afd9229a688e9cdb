"""Synthetic data sets of the size and in the form of the official ones.

Each class has its own faint pattern of colours, so that a network has something to learn. A few
pictures of each class are encoded; the files of a class repeat them, each with a different comment,
so that no two files are the same.
"""

import io
import os
import pathlib
import tarfile
import zipfile
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image
from tqdm import tqdm

from ccp_dml.data.image_index import write_index

_PRODUCTS = (
    "bicycle",
    "cabinet",
    "chair",
    "coffee_maker",
    "fan",
    "kettle",
    "lamp",
    "mug",
    "sofa",
    "stapler",
    "table",
    "toaster",
)
_DRAWN = 600
_PATTERN = 6
# The rest of a picture is a pattern of its own.
_SHARE_OF_CLASS = 0.25
_NOISE = 6.0


def encode_picture(generator: np.random.Generator, pattern: np.ndarray, size: tuple) -> bytes:
    """A JPEG of a pattern `(height, width, 3)`, enlarged to (width, height) `size`, with noise."""
    image = Image.fromarray(pattern).resize(size, Image.Resampling.BICUBIC)
    noise = generator.normal(0, _NOISE, (size[1], size[0], 1))
    pixels = np.clip(np.asarray(image, "float32") + noise, 0, 255).astype("uint8")
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=75)
    return encoded.getvalue()


def with_comment(data: bytes, text: str) -> bytes:
    """A JPEG with a comment."""
    comment = text.encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


def class_pictures(
    generator: np.random.Generator, count: int, sides: tuple[int, int]
) -> list[bytes]:
    """Pictures of a new class, whose sides are between two bounds."""
    class_pattern = generator.uniform(0, 255, (_PATTERN, _PATTERN, 3))
    pictures = []
    for _ in range(count):
        own = generator.uniform(0, 255, class_pattern.shape)
        pattern = _SHARE_OF_CLASS * class_pattern + (1 - _SHARE_OF_CLASS) * own
        size = generator.integers(sides[0], sides[1] + 1, 2).tolist()
        pictures.append(encode_picture(generator, pattern.astype("uint8"), tuple(size)))
    return pictures


def equal_sizes(images: int, classes: int) -> list[int]:
    """The sizes of classes that are as equal as they can be."""
    return [len(part) for part in np.array_split(np.arange(images), classes)]


def uneven_sizes(generator: np.random.Generator, images: int, classes: int) -> list[int]:
    """The sizes of classes of two or more images, most of them small."""
    more = generator.integers(0, classes, images - 2 * classes)
    return (2 + np.bincount(more, minlength=classes)).tolist()


def write_birds(folder: pathlib.Path):
    """The two archives of CUB-200-2011: 11,788 pictures with sides of 227 to 500 pixels."""
    generator = np.random.default_rng(0)
    sizes = equal_sizes(5_864, 100) + equal_sizes(5_924, 100)
    names = [f"{label + 1:03d}.Bird_{label}" for label in range(200)]
    tables = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    mask = io.BytesIO()
    Image.new("L", (227, 227), 255).save(mask, "PNG")
    files, masks = [], []
    for label, (name, size) in enumerate(zip(names, sizes, strict=True)):
        pictures = class_pictures(generator, 3, (227, 500))
        for number in range(size):
            path = f"{name}/Bird_{label}_{number:04d}_{label}{number}.jpg"
            files.append((f"CUB_200_2011/images/{path}", pictures[number % 3]))
            masks.append((f"segmentations/{path[:-4]}.png", mask.getvalue()))
            identifier = len(files)
            tables["images"].append((identifier, path))
            tables["image_class_labels"].append((identifier, label + 1))
            tables["train_test_split"].append((identifier, number % 2))
            tables["bounding_boxes"].append((identifier, 1.0, 2.0, 200.0, 200.0))
    tables["classes"] = [(label + 1, name) for label, name in enumerate(names)]
    texts = [(f"CUB_200_2011/{name}.txt", _lines(rows)) for name, rows in tables.items()]
    _write_tgz(folder / "CUB_200_2011.tgz", texts, files)
    _write_tgz(folder / "segmentations.tgz", [], masks)


def write_products(folder: pathlib.Path):
    """The archive of Stanford Online Products: 120,053 pictures with sides of 64 to 96 pixels."""
    generator = np.random.default_rng(1)
    header = ("image_id", "class_id", "super_class_id", "path")
    tables: dict[str, list[tuple]] = {"train": [header], "test": [header], "info": [header]}
    sizes = _product_sizes(generator)
    files = []
    for split, of_classes in sizes.items():
        first_label = 0 if split == "train" else len(sizes["train"])
        classes = enumerate(of_classes, start=first_label)
        for label, size in tqdm(classes, "drawing", len(of_classes), unit="class"):
            pictures = class_pictures(generator, 3, (64, 96))
            super_class = label % len(_PRODUCTS)
            for number in range(size):
                path = f"{_PRODUCTS[super_class]}_final/{111_085_122_871 + label}_{number}.JPG"
                files.append((f"Stanford_Online_Products/{path}", pictures[number % 3]))
                row = (len(files), label + 1, super_class + 1, path)
                tables[split].append(row)
                tables["info"].append(row)
    with zipfile.ZipFile(folder / "Stanford_Online_Products.zip", "w") as archive:
        for name, rows in tables.items():
            archive.writestr(f"Stanford_Online_Products/Ebay_{name}.txt", _lines(rows))
        for name, data in _with_comments(files):
            archive.writestr(name, data)


def link_products(folder: pathlib.Path):
    """Stanford Online Products as the package keeps it, made of hard links to 600 pictures."""
    generator = np.random.default_rng(1)
    drawn = folder / "drawn"
    drawn.mkdir(parents=True, exist_ok=True)
    pictures = []
    for number in range(_DRAWN):
        pictures.append(drawn / f"{number}.jpg")
        pictures[-1].write_bytes(*class_pictures(generator, 1, (64, 96)))
    rows, label = [], 0
    for split, of_classes in _product_sizes(generator).items():
        for size in of_classes:
            # As the package names them.
            path = f"images/{_PRODUCTS[label % len(_PRODUCTS)]}/{label:05d}"
            (folder / path).mkdir(parents=True, exist_ok=True)
            for number in range(size):
                target = folder / path / f"{number:04d}.jpg"
                target.unlink(missing_ok=True)
                os.link(pictures[len(rows) % _DRAWN], target)
                rows.append((f"{path}/{number:04d}.jpg", label, split))
            label += 1
    write_index(folder, rows)


def _product_sizes(generator):
    return {
        "train": uneven_sizes(generator, 59_551, 11_318),
        "test": uneven_sizes(generator, 60_502, 11_316),
    }


def _lines(rows: Iterable[tuple]) -> bytes:
    return "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()


def _with_comments(files: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    for name, data in tqdm(files, "packing", unit="file"):
        yield name, with_comment(data, name)


def _write_tgz(path, texts, files):
    # Files that are already compressed do not get smaller.
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        images = files if path.name.startswith("seg") else _with_comments(files)
        for name, data in (*texts, *images):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
