"""The official retrieval benchmarks: CUB-200-2011, Cars196, Stanford Online Products, In-Shop."""

import dataclasses
import shlex
import urllib.error
from collections.abc import Mapping

import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.extractor import ExtractError

from ccp_dml.data.datasets import inshop
from ccp_dml.data.datasets.archive_check import ARCHIVE_ERRORS, check_archive
from ccp_dml.data.datasets.export import export_images
from ccp_dml.data.image_index import ImageIndex, SplitSize, absolute_path, read_index


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file that the authors of a data set give out.

    Attributes:
        path: Where to put it by hand, below `<data_dir>/downloads/manual`.
        address: Its official address, which may be gone.
        extracted: A folder extracted from it that will do as well. Defaults to none.
        lists: Members that name files to be read; see `check_archive`. Defaults to none.
    """

    path: str
    address: str
    extracted: str = ""
    lists: tuple[str, ...] = ()

    def __str__(self) -> str:
        alternative = f" or the extracted folder {self.extracted}" if self.extracted else ""
        return f"{self.path}{alternative} (official address: {self.address})"


@dataclasses.dataclass(frozen=True)
class OfficialSet:
    """A benchmark and how it is made from a TFDS data set.

    Attributes:
        builder: Name of the TFDS data set.
        label: Name of the feature that holds the class.
        sizes: The official size of each split.
        archives: The files it is made from.
        obstacle: Why the archives cannot be downloaded; empty if they can.
        splits_by_class: Whether the splits of TFDS are those of a classification benchmark, which
            are merged and split again: the first classes for training, the others for testing.
        super_label: Name of the feature that holds the super-class; empty if there is none.
    """

    builder: str
    label: str
    sizes: Mapping[str, SplitSize]
    archives: tuple[Archive, ...]
    obstacle: str = ""
    splits_by_class: bool = False
    super_label: str = ""

    def split_of(self, split: str, label: int) -> str:
        """The benchmark's split of an image, from its split in TFDS and its class."""
        if not self.splits_by_class:
            return split
        return "train" if label < self.sizes["train"].classes else "test"


_BIRDS = "https://data.caltech.edu/records/"
_CARS = "https://ai.stanford.edu/~jkrause/"

OFFICIAL_SETS: dict[str, OfficialSet] = {
    "cub200_2011": OfficialSet(
        builder="caltech_birds2011",
        label="label",
        sizes={"train": SplitSize(5864, 100), "test": SplitSize(5924, 100)},
        archives=(
            Archive("CUB_200_2011.tgz", f"{_BIRDS}65de6-vp158"),
            Archive("segmentations.tgz", f"{_BIRDS}w9d68-gec53"),
        ),
        splits_by_class=True,
    ),
    "cars196": OfficialSet(
        builder="cars196",
        label="label",
        sizes={"train": SplitSize(8054, 98), "test": SplitSize(8131, 98)},
        archives=(
            Archive("cars_train.tgz", f"{_CARS}car196/cars_train.tgz"),
            Archive("cars_test.tgz", f"{_CARS}car196/cars_test.tgz"),
            Archive("car_devkit.tgz", f"{_CARS}cars/car_devkit.tgz"),
            Archive(
                "cars_test_annos_withlabels.mat",
                f"{_CARS}car196/cars_test_annos_withlabels.mat",
            ),
        ),
        obstacle="its public address is gone",
        splits_by_class=True,
    ),
    "sop": OfficialSet(
        builder="stanford_online_products",
        label="class_id",
        super_label="super_class_id",
        sizes={"train": SplitSize(59551, 11318), "test": SplitSize(60502, 11316)},
        archives=(
            Archive(
                "Stanford_Online_Products.zip",
                "ftp://cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
                lists=tuple(
                    f"Stanford_Online_Products/Ebay_{split}.txt" for split in ("train", "test")
                ),
            ),
        ),
    ),
    "inshop": OfficialSet(
        builder="inshop",
        label="label",
        super_label="category",
        sizes={
            "train": SplitSize(25882, 3997),
            "query": SplitSize(14218, 3985),
            "gallery": SplitSize(12612, 3985),
        },
        archives=(
            Archive("inshop/Eval/list_eval_partition.txt", inshop.HOMEPAGE),
            Archive("inshop/Img/img.zip", inshop.HOMEPAGE, extracted="inshop/Img/img"),
        ),
        obstacle="its files are given out on request",
    ),
}
"""The benchmarks by name."""

_DOWNLOAD_ERRORS = (
    requests.RequestException,
    urllib.error.URLError,
    ConnectionError,
    TimeoutError,
    tfds.download.DownloadError,
)
# What TFDS raises for archives that are not as the official ones are.
_FORMAT_ERRORS = (
    *ARCHIVE_ERRORS,
    ExtractError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
_ARCHIVE_SUFFIXES = (".tgz", ".zip")


def load_official(name: str, data_dir: str) -> ImageIndex:
    """Loads a benchmark: at once if its images are in `data_dir`, else from the official archives.

    TFDS downloads the archives, or takes those in `<data_dir>/downloads/manual`, checks them, and
    prepares `<data_dir>/<TFDS name>`. From there the images go, as they are, into files in
    `<data_dir>/<name>`, with an `index.csv`. After an interruption it can be called again.

    Args:
        name: A key of `OFFICIAL_SETS`.
        data_dir: Folder of data sets; any path that `etils.epath` knows, such as `gs://…`.

    Returns:
        The images in order of their classes.

    Raises:
        ValueError: If the name is unknown, an archive is missing, damaged or cannot be downloaded,
            `data_dir` cannot be written to, or the size of a split is not the official one; the
            message says what to do.
    """
    if name not in OFFICIAL_SETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(OFFICIAL_SETS)}")
    benchmark = OFFICIAL_SETS[name]
    data_dir = absolute_path(data_dir)
    try:
        index = read_index(data_dir / name)
        if index is None:
            index = _build(name, benchmark, data_dir)
    except (OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"{name} cannot be read from or written to {data_dir}: {_join_lines(error)}"
        ) from error
    _check_sizes(index, name, benchmark, data_dir)
    return index


def _build(name, benchmark, data_dir):
    """Makes the image files and the index, and reads it."""
    builder = _prepare(name, benchmark, data_dir)
    export_images(
        builder, benchmark.label, benchmark.split_of, data_dir / name, benchmark.super_label
    )
    logging.info(
        "%s is complete in %s: it needs neither %s nor %s any more.",
        name,
        data_dir / name,
        builder.data_dir,
        data_dir / "downloads",
    )
    return read_index(data_dir / name)


def _prepare(name, benchmark, data_dir):
    """The TFDS builder with its data prepared in `data_dir`."""
    builder = tfds.builder(benchmark.builder, data_dir=data_dir)
    if builder.is_prepared():
        return builder
    manual_dir = data_dir / "downloads" / "manual"
    if missing := _find_missing(benchmark, manual_dir):
        if benchmark.obstacle:
            raise ValueError(
                _explain_manual_download(name, benchmark, data_dir, benchmark.obstacle)
            )
        # TFDS tries for minutes before it says that there is no network.
        files = ", ".join(map(str, missing))
        logging.info(
            "Downloading what is missing in %s (or put it there yourself): %s.", manual_dir, files
        )
    _check_archives(name, benchmark, data_dir)
    # Only the official archives: a prepared copy from elsewhere would go unchecked.
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_dir=data_dir / "downloads", download_config=config)
    except NonMatchingChecksumError as error:
        for archive in benchmark.archives:
            path = manual_dir / archive.path
            if str(path) in str(error):
                raise ValueError(
                    f"{path} is incomplete or not the official archive: its checksum is wrong. "
                    f"Replace it and run: {_format_command(name, data_dir)}"
                ) from error
        reason = "what its address gives is not the official archive"
        raise ValueError(_explain_manual_download(name, benchmark, data_dir, reason)) from error
    except _DOWNLOAD_ERRORS as error:
        reason = f"the download failed ({_join_lines(error)})"
        raise ValueError(_explain_manual_download(name, benchmark, data_dir, reason)) from error
    except _FORMAT_ERRORS as error:
        raise ValueError(
            f"{name} cannot be made from the files in {manual_dir}: {_join_lines(error)}"
        ) from error
    return builder


def _check_archives(name, benchmark, data_dir):
    """Checks the archives that somebody put there; what TFDS downloads is the official one."""
    for archive in benchmark.archives:
        path = data_dir / "downloads" / "manual" / archive.path
        if path.suffix in _ARCHIVE_SUFFIXES and path.exists():
            try:
                check_archive(path, archive.lists)
            except ValueError as error:
                raise ValueError(
                    f"{error}. Replace it and run: {_format_command(name, data_dir)}"
                ) from error


def _find_missing(benchmark, manual_dir):
    return [
        archive
        for archive in benchmark.archives
        if not (manual_dir / archive.path).exists()
        and not (archive.extracted and (manual_dir / archive.extracted).exists())
    ]


def _explain_manual_download(name, benchmark, data_dir, reason):
    manual_dir = data_dir / "downloads" / "manual"
    files = ", ".join(map(str, _find_missing(benchmark, manual_dir)))
    return (
        f"{name} cannot be downloaded: {reason}. Missing in {manual_dir}: {files}. Put the files "
        f"there and run: {_format_command(name, data_dir)}"
    )


def _join_lines(error):
    return " ".join(f"{type(error).__name__}: {error}".split())


def _format_command(name, data_dir):
    return (
        f"python -m ccp_dml.main --mode=describe --dataset={name} "
        f"--data_dir={shlex.quote(str(data_dir))}"
    )


def _check_sizes(index, name, benchmark, data_dir):
    found = index.sizes()
    if found == dict(benchmark.sizes):
        return
    folders = sorted({str(data_dir / name), str(data_dir / benchmark.builder)})
    raise ValueError(
        f"{name} in {data_dir} has {_format_sizes(found)}; the official set has "
        f"{_format_sizes(benchmark.sizes)}. Delete {' and '.join(folders)}, and to make it again "
        f"from the archives run: {_format_command(name, data_dir)}"
    )


def _format_sizes(sizes):
    return ", ".join(
        f"{size.images} {split} images of {size.classes} classes"
        for split, size in sorted(sizes.items(), reverse=True)
    )
