"""DeepFashion's In-Shop Clothes Retrieval as a TFDS builder, `tfds.load("inshop")`."""

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow_datasets as tfds
from etils import epath

from ccp_dml.data.datasets.archive_check import ARCHIVE_ERRORS, MAX_IMAGE_BYTES
from ccp_dml.data.datasets.official import INSHOP_HOMEPAGE
from ccp_dml.data.image_header import identify_format
from ccp_dml.data.image_index import is_inside, is_regular_file, is_remote

_SPLITS = ("train", "query", "gallery")

_DESCRIPTION = """
In-Shop Clothes Retrieval, a benchmark of DeepFashion: 52,712 images of 7,982 items of clothing from
a shop, each item in several poses and colours. 3,997 items are for training. With the others, each
of 14,218 query images is to retrieve the images of its item among 12,612 gallery images.
"""

_CITATION = """
@inproceedings{liu2016deepfashion,
  title     = {{DeepFashion}: Powering Robust Clothes Recognition and Retrieval
               with Rich Annotations},
  author    = {Liu, Ziwei and Luo, Ping and Qiu, Shi and Wang, Xiaogang and Tang, Xiaoou},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision
               and Pattern Recognition (CVPR)},
  pages     = {1096--1104},
  year      = {2016}
}
"""


class InShop(tfds.core.GeneratorBasedBuilder):
    """In-Shop Clothes Retrieval, from the files that its authors provide on request.

    An example is an `image`, its `item_id` as in the official lists, the item as an integer
    `label` (its place among the sorted ids of all splits), the official `path` of the image, and
    the `category` of the item, such as `MEN/Denim`: the folders that its first image is in. The
    splits are `train`, `query` and `gallery`.

    Raises:
        ValueError: When it is prepared, if a file is missing, or is not in the official format; the
            message names the file and the line.
    """

    name = "inshop"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {  # noqa: RUF012, TFDS declares no class variable
        "1.0.0": "Initial release.",
        "1.1.0": "Items have a category.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    The files of the In-Shop Clothes Retrieval Benchmark are given out on request, see
    {INSHOP_HOMEPAGE}.
    manual_dir needs inshop/Eval/list_eval_partition.txt and either inshop/Img/img.zip or the folder
    inshop/Img/img/ extracted from it.
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=7982),
                    "item_id": tfds.features.Text(),
                    "path": tfds.features.Text(),
                    "category": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=INSHOP_HOMEPAGE,
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager):
        folder = dl_manager.manual_dir / "inshop"
        partition = folder / "Eval" / "list_eval_partition.txt"
        rows = read_partition(partition)
        items = sorted({row.item for row in rows})
        labels = {item: label for label, item in enumerate(items)}
        # The same for all images of an item, even if some are in other folders.
        categories = {row.item: "/".join(row.path.split("/")[1:-2]) for row in reversed(rows)}
        return {
            split: self._generate_examples(
                folder / "Img", [row for row in rows if row.split == split], labels, categories
            )
            for split in _SPLITS
        }

    def _generate_examples(self, folder, rows, labels, categories):
        with _image_reader(folder) as read:
            for row in rows:
                yield (
                    row.path,
                    {
                        "image": read(row.path),
                        "label": labels[row.item],
                        "item_id": row.item,
                        "path": row.path,
                        "category": categories[row.item],
                    },
                )


class PartitionRow(NamedTuple):
    """An image in the partition file.

    Attributes:
        path: Path below the folder `Img`.
        item: Id of the item of clothing.
        split: `"train"`, `"query"` or `"gallery"`.
    """

    path: str
    item: str
    split: str


def read_partition(path: epath.Path) -> list[PartitionRow]:
    """Reads the official `list_eval_partition.txt`.

    Its first line is the number of images, its second the names of the columns, and each other line
    an image: path, item id and split.

    Args:
        path: The file.

    Returns:
        The images in the order of the file.

    Raises:
        ValueError: If the file is missing or is not text, a line is not in this format or names
            something outside the folder, or the number of images differs from the first line; the
            message names the file and the line.
    """
    if not is_regular_file(path):
        raise ValueError(f"{path} is missing, or not a file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from error
    rows, line_numbers = [], {}
    for number, line in enumerate(lines[2:], start=3):
        fields = line.split()
        if len(fields) != 3 or fields[2] not in _SPLITS:
            raise ValueError(
                f"{path}, line {number}: expected a path, an item id and one of "
                f"{', '.join(_SPLITS)}; got {line!r}"
            )
        if not (fields[0].startswith("img/") and is_inside(fields[0])):
            raise ValueError(
                f"{path}, line {number}: expected a path below the folder img; got {fields[0]!r}"
            )
        if fields[0] in line_numbers:
            raise ValueError(
                f"{path}, lines {line_numbers[fields[0]]} and {number} name the same image "
                f"{fields[0]}"
            )
        line_numbers[fields[0]] = number
        rows.append(PartitionRow(*fields))
    if not rows or lines[0].strip() != str(len(rows)):
        raise ValueError(
            f"{path}, line 1: expected the number of the images listed below, {len(rows)}; "
            f"got {''.join(lines[:1])!r}"
        )
    return rows


@contextlib.contextmanager
def _image_reader(folder: epath.Path) -> Iterator[Callable[[str], bytes]]:
    """Returns a reader of images by official path, from the extracted folder or the archive."""
    archive = folder / "img.zip"
    if (folder / "img").exists():
        yield lambda name: _read_file(folder, name)
    elif archive.exists():
        with archive.open("rb") as file:
            try:
                with zipfile.ZipFile(file) as opened:
                    yield lambda name: _read_member(archive, opened, name)
            except zipfile.BadZipFile as error:
                raise ValueError(f"{archive} cannot be read: {error}") from error
    else:
        raise ValueError(f"{archive} is missing, and so is the folder {folder / 'img'}")


def _read_file(folder, name):
    path = folder / name
    if not is_regular_file(path):
        raise ValueError(f"{path} is missing, or not a file; list_eval_partition.txt names it")
    # The folder itself may be a link, but no link in it may lead elsewhere.
    root = os.path.realpath(folder / "img")
    if not is_remote(path) and os.path.commonpath([root, os.path.realpath(path)]) != root:
        raise ValueError(f"{path} is a link that leads out of {folder / 'img'}")
    with path.open("rb") as file:
        contents = file.read(MAX_IMAGE_BYTES + 1)
    _check_bytes(path, len(contents))
    return _check_format(path, contents)


def _read_member(archive, opened, name):
    where = f"{archive}: {name}"
    try:
        _check_bytes(where, opened.getinfo(name).file_size)
        contents = opened.read(name)
    except KeyError as error:
        raise ValueError(f"{archive} has no {name}; list_eval_partition.txt names it") from error
    except ARCHIVE_ERRORS as error:
        raise ValueError(f"{archive} cannot be read: {error}; extract it") from error
    return _check_format(where, contents)


def _check_bytes(where, size):
    if size > MAX_IMAGE_BYTES:
        raise ValueError(f"{where} has more than {MAX_IMAGE_BYTES:,} bytes")


def _check_format(where, contents):
    try:
        identify_format(contents)
    except ValueError as error:
        raise ValueError(f"{where} {error}") from error
    return contents
