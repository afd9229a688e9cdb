"""The official retrieval benchmarks: CUB-200-2011, Cars196, Stanford Online Products, In-Shop."""

import dataclasses
import shlex
from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from ccp_dml.data.image_index import ImageIndex, SplitSize, absolute_path, read_index


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file that the authors of a data set distribute.

    Attributes:
        path: Where to put it by hand, below `<data_dir>/downloads/manual`.
        address: Its official address, which may no longer exist.
        extracted: A folder extracted from it that can be used instead. Defaults to none.
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
    """A benchmark, and how to make it from a TFDS data set.

    Attributes:
        builder: Name of the TFDS data set.
        label: Name of the feature that holds the class.
        sizes: The official size of each split.
        archives: The files it is made from.
        obstacle: Why the archives cannot be downloaded; empty if they can.
        splits_by_class: Whether the splits of TFDS are those of a classification benchmark, which
            are merged and split again: the first classes for training, the others for testing.
        super_label: Name of the feature that holds the super-class; empty if there is none.
        needs_opencv: Whether TFDS needs OpenCV to read the archives.
    """

    builder: str
    label: str
    sizes: Mapping[str, SplitSize]
    archives: tuple[Archive, ...]
    obstacle: str = ""
    splits_by_class: bool = False
    super_label: str = ""
    needs_opencv: bool = False

    def split_of(self, split: str, label: int) -> str:
        """Returns the benchmark's split of an image from its split in TFDS and its class."""
        if not self.splits_by_class:
            return split
        return "train" if label < self.sizes["train"].classes else "test"


_BIRDS = "https://data.caltech.edu/records/"
_CARS = "https://ai.stanford.edu/~jkrause/"
INSHOP_HOMEPAGE = "http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html"

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
        needs_opencv=True,
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
        obstacle="it is no longer at its public address",
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
            Archive("inshop/Eval/list_eval_partition.txt", INSHOP_HOMEPAGE),
            Archive("inshop/Img/img.zip", INSHOP_HOMEPAGE, extracted="inshop/Img/img"),
        ),
        obstacle="its files are available only on request",
    ),
}
"""The benchmarks by name."""


def load_official(name: str, data_dir: str) -> ImageIndex:
    """Loads a benchmark from its images in `data_dir`, or else makes it from the official archives.

    TFDS downloads the archives, or takes those in `<data_dir>/downloads/manual`, checks them, and
    prepares `<data_dir>/<TFDS name>`. From there the unchanged images are written to files in
    `<data_dir>/<name>`, with an `index.csv`. After an interruption, call it again.

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
        raise ValueError(
            f"unknown data set {name!r}; the official data sets are {', '.join(OFFICIAL_SETS)}"
        )
    benchmark = OFFICIAL_SETS[name]
    folder = absolute_path(data_dir)
    try:
        index = read_index(folder / name)
        if index is None:
            # TFDS takes a while to import, and is needed only once.
            from ccp_dml.data.datasets.official_archives import build_official

            index = build_official(name, benchmark, folder)
    except (OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"{name} cannot be read from or written to {folder}: {join_lines(error)}"
        ) from error
    _check_sizes(index, name, benchmark, folder)
    return index


def join_lines(error: Exception) -> str:
    """Returns an error's class and message on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def describe_command(name: str, data_dir: epath.Path) -> str:
    """Returns the command line that makes a benchmark and describes it."""
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
        f"{_format_sizes(benchmark.sizes)}. To build it again from the archives, delete "
        f"{' and '.join(folders)}, and run: {describe_command(name, data_dir)}"
    )


def _format_sizes(sizes):
    return ", ".join(
        f"{size.images} {split} images of {size.classes} classes"
        for split, size in sorted(sizes.items(), reverse=True)
    )
