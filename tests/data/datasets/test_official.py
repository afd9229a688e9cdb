import collections
import dataclasses
import pathlib
import re
import shutil
import socket
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, downloader

from ccp_dml.data import (
    OFFICIAL_SETS,
    ImageIndex,
    Preprocessing,
    SplitSize,
    load,
    load_official,
    training_batches,
)
from ccp_dml.data.datasets import export, official
from tests.data import archives

WRITERS = {
    "cub200_2011": archives.write_birds,
    "cars196": archives.write_cars,
    "sop": archives.write_products,
    "inshop": archives.write_inshop,
}
SIZES = {name: benchmark.sizes for name, benchmark in OFFICIAL_SETS.items()}
MINIATURE_SIZES = {
    "cub200_2011": {"train": SplitSize(202, 100), "test": SplitSize(202, 100)},
    "cars196": {"train": SplitSize(147, 98), "test": SplitSize(147, 98)},
    "sop": {"train": SplitSize(6, 3), "test": SplitSize(4, 2)},
    "inshop": {"train": SplitSize(6, 2), "query": SplitSize(2, 2), "gallery": SplitSize(4, 2)},
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*arguments):
        raise ConnectionRefusedError("tests have no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(downloader, "MAX_RETRIES", 0)


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    for name, sizes in MINIATURE_SIZES.items():
        monkeypatch.setitem(
            OFFICIAL_SETS, name, dataclasses.replace(OFFICIAL_SETS[name], sizes=sizes)
        )


@pytest.fixture
def manual_dir(tmp_path):
    path = tmp_path / "downloads" / "manual"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def accept(monkeypatch, manual_dir):
    """Makes TFDS take the miniature archives of a set for the official ones."""

    def accept(name):
        builder = tfds.builder_cls(OFFICIAL_SETS[name].builder)
        files = {
            url: manual_dir / url_info.filename
            for url, url_info in (builder.url_infos or {}).items()
        }
        url_infos = {
            url: checksums.compute_url_info(file) for url, file in files.items() if file.exists()
        }
        monkeypatch.setattr(builder, "url_infos", url_infos)

    return accept


def rows_of(index: ImageIndex):
    """The images of an index as a multiset of class, split and bytes."""
    data = [pathlib.Path(path).read_bytes() for path in index.paths]
    return collections.Counter(zip(index.labels.tolist(), index.splits.tolist(), data, strict=True))


def by_class(label, num_train_classes):
    return "train" if label < num_train_classes else "test"


@pytest.mark.parametrize(("name", "num_train_classes"), [("cub200_2011", 100), ("cars196", 98)])
def test_classification_splits_are_merged_and_split_by_class(
    name, num_train_classes, tmp_path, manual_dir, accept
):
    images = WRITERS[name](manual_dir)
    accept(name)
    index = load_official(name, str(tmp_path))
    # The same bytes with the same class, in the split of the class.
    assert rows_of(index) == collections.Counter(
        (image.label, by_class(image.label, num_train_classes), image.data) for image in images
    )
    # The archive splits differently: it has images of a class in both splits.
    assert {image.split for image in images if image.label == 0} == {"train", "test"}
    assert set(index.labels[index.splits == "train"]) == set(range(num_train_classes))
    assert set(index.labels[index.splits == "test"]) == set(
        range(num_train_classes, 2 * num_train_classes)
    )


@pytest.mark.parametrize("name", ["sop", "inshop"])
def test_official_retrieval_splits_are_kept(name, tmp_path, manual_dir, accept):
    images = WRITERS[name](manual_dir)
    accept(name)
    index = load_official(name, str(tmp_path))
    assert rows_of(index) == collections.Counter(
        (image.label, image.split, image.data) for image in images
    )
    assert index.sizes() == MINIATURE_SIZES[name]


def test_products_are_in_folders_of_their_super_classes(tmp_path, manual_dir, accept):
    archives.write_products(manual_dir)
    accept("sop")
    index = load_official("sop", str(tmp_path))
    above = [pathlib.Path(path).parent.parent.name for path in index.paths]
    assert set(zip(index.labels.tolist(), above, strict=True)) == {
        (label, "bicycle" if label < 2 else "toaster") for label in set(index.labels.tolist())
    }
    assert index.labels.tolist() == sorted(index.labels.tolist())


def test_items_are_in_folders_of_their_categories(inshop):
    index = load_official("inshop", str(inshop))
    images = inshop / "inshop" / "images"
    folders = {label: set() for label in index.labels.tolist()}
    for path, label in zip(index.paths, index.labels.tolist(), strict=True):
        folders[label].add(str(pathlib.Path(path).relative_to(images).parent.parent))
    # An item has one folder, though the images of the last are in two folders of the archive.
    assert list(folders.values()) == [{"MEN/Denim"}, *[{"WOMEN/Blouses_Shirts"}] * 3]


def test_extracted_inshop_images_do_as_well(tmp_path, manual_dir):
    images = archives.write_inshop(manual_dir, extracted=True)
    assert rows_of(load_official("inshop", str(tmp_path))) == collections.Counter(
        (image.label, image.split, image.data) for image in images
    )


@pytest.fixture
def inshop(tmp_path, manual_dir):
    """A folder in which In-Shop has been loaded."""
    archives.write_inshop(manual_dir)
    load_official("inshop", str(tmp_path))
    return tmp_path


def test_images_are_in_class_order_with_absolute_paths(inshop, monkeypatch):
    monkeypatch.chdir(inshop.parent)
    index = load_official("inshop", inshop.name)
    assert index.labels.dtype == np.int64
    assert (np.diff(index.labels) >= 0).all()
    assert all(pathlib.Path(path).is_absolute() for path in index.paths)
    first = inshop / "inshop" / "images" / "MEN" / "Denim" / "00000" / "0000.jpg"
    assert index.paths[0] == str(first)


def test_names_and_order_are_the_same_each_time(tmp_path, inshop):
    first = load_official("inshop", str(inshop))
    again_dir = tmp_path / "again"
    archives.write_inshop(again_dir / "downloads" / "manual")
    again = load_official("inshop", str(again_dir))
    relative = [str(pathlib.Path(path).relative_to(inshop)) for path in first.paths]
    assert [str(pathlib.Path(path).relative_to(again_dir)) for path in again.paths] == relative
    assert [pathlib.Path(path).read_bytes() for path in first.paths] == [
        pathlib.Path(path).read_bytes() for path in again.paths
    ]


def test_a_second_load_needs_neither_tfds_nor_the_archives(inshop, monkeypatch):
    first = load_official("inshop", str(inshop))
    shutil.rmtree(inshop / "downloads")
    (prepared,) = (inshop / "inshop").glob("1.*")
    shutil.rmtree(prepared)
    monkeypatch.setitem(sys.modules, "ccp_dml.data.datasets.official_archives", None)
    again = load_official("inshop", str(inshop))
    assert rows_of(again) == rows_of(first)


def test_birds_need_opencv_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'build cub200_2011 .*: pip install "ccp_dml\[cub\]"'):
        load_official("cub200_2011", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interrupted", ["_write_image", "write_index"])
def test_an_interrupted_load_can_be_repeated(interrupted, tmp_path, manual_dir, monkeypatch):
    def interrupt(path, content):
        if interrupted == "_write_image":
            path.write_bytes(content[:10])
        raise KeyboardInterrupt

    images = archives.write_inshop(manual_dir)
    with monkeypatch.context() as context:
        context.setattr(export, interrupted, interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_official("inshop", str(tmp_path))
    assert rows_of(load_official("inshop", str(tmp_path))) == collections.Counter(
        (image.label, image.split, image.data) for image in images
    )


def test_images_go_to_a_bucket(tmp_path, manual_dir, bucket):
    images = archives.write_inshop(manual_dir)
    builder = tfds.builder("inshop", data_dir=tmp_path)
    builder.download_and_prepare(download_dir=tmp_path / "downloads")
    folder = official.absolute_path("gs://bucket/inshop")
    export.export_images(builder, "label", lambda split, label: split, folder)
    index = load_official("inshop", "gs://bucket")
    assert all(path.startswith("gs://bucket/inshop/images/") for path in index.paths)
    data = {(bucket / path.removeprefix("gs://bucket/")).read_bytes() for path in index.paths}
    assert data == {image.data for image in images}


def test_wrong_sizes_name_the_found_and_the_official_ones(inshop, monkeypatch):
    sizes = {**MINIATURE_SIZES["inshop"], "query": SplitSize(3, 2)}
    monkeypatch.setitem(
        OFFICIAL_SETS, "inshop", dataclasses.replace(OFFICIAL_SETS["inshop"], sizes=sizes)
    )
    with pytest.raises(ValueError, match="inshop in ") as raised:
        load_official("inshop", str(inshop))
    message = str(raised.value)
    assert (
        "has 6 train images of 2 classes, 2 query images of 2 classes, 4 gallery images of 2 "
        "classes; the official set has 6 train images of 2 classes, 3 query images of 2 classes, "
        "4 gallery images of 2 classes." in message
    )
    assert f"delete {inshop / 'inshop'}, and" in message


def test_the_official_sizes():
    assert {name: sum(size.images for size in sizes.values()) for name, sizes in SIZES.items()} == {
        "cub200_2011": 11_788,
        "cars196": 16_185,
        "sop": 120_053,
        "inshop": 52_712,
    }
    assert SIZES["sop"]["train"].classes + SIZES["sop"]["test"].classes == 22_634
    assert SIZES["inshop"]["train"].classes + SIZES["inshop"]["query"].classes == 7_982


def message_of(name, data_dir):
    with pytest.raises(ValueError, match=name) as raised:
        load_official(name, str(data_dir))
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_missing_archives_are_listed_with_what_to_do(tmp_path, manual_dir):
    archives.write_cars(manual_dir)
    (manual_dir / "cars_test.tgz").unlink()
    message = message_of("cars196", tmp_path)
    assert (
        f"no longer at its public address. Missing from {manual_dir}: cars_test.tgz (official "
        "address: " in message
    )
    assert "cars_train.tgz" not in message
    assert message.endswith(
        f"run: python -m ccp_dml.main --mode=describe --dataset=cars196 --data_dir={tmp_path}"
    )


def test_missing_inshop_files_are_listed(tmp_path, manual_dir):
    message = message_of("inshop", tmp_path)
    assert "inshop/Eval/list_eval_partition.txt (official address: http" in message
    assert (
        "inshop/Img/img.zip or the extracted folder inshop/Img/img (official address: http"
        in message
    )
    archives.write_inshop(manual_dir, extracted=True)
    (manual_dir / "inshop" / "Eval" / "list_eval_partition.txt").unlink()
    assert "img.zip" not in message_of("inshop", tmp_path)


@pytest.mark.parametrize(
    ("name", "archive"),
    [("cub200_2011", "segmentations.tgz"), ("sop", "Stanford_Online_Products.zip")],
)
def test_a_failed_download_says_what_to_put_where(name, archive, tmp_path, manual_dir, accept):
    WRITERS[name](manual_dir)
    accept(name)
    (manual_dir / archive).unlink()
    message = message_of(name, tmp_path)
    assert "the download failed" in message
    assert f"Missing from {manual_dir}: {archive} (official address: " in message
    assert "CUB_200_2011.tgz" not in message
    assert f"--dataset={name} --data_dir={tmp_path}" in message


def test_another_archive_than_the_official_one_is_named(tmp_path, manual_dir, accept):
    archives.write_birds(manual_dir)
    accept("cub200_2011")
    archive = manual_dir / "CUB_200_2011.tgz"
    archives.write_tgz(archive, {"CUB_200_2011/images.txt": b""})
    with pytest.raises(ValueError, match=re.escape(f"{archive} is incomplete or not the official")):
        load_official("cub200_2011", str(tmp_path))


@pytest.mark.parametrize("part", [0.3, 0.98])
@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("cub200_2011", "CUB_200_2011.tgz"),
        ("cub200_2011", "segmentations.tgz"),
        ("sop", "Stanford_Online_Products.zip"),
        ("cars196", "cars_test.tgz"),
        ("inshop", "inshop/Img/img.zip"),
    ],
)
def test_a_truncated_archive_is_named_whatever_its_checksum(
    name, archive, part, tmp_path, manual_dir, accept
):
    WRITERS[name](manual_dir)
    path = manual_dir / archive
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    accept(name)
    message = message_of(name, tmp_path)
    assert message.startswith(f"{path} is truncated or damaged: ")
    assert f"Replace it and run: python -m ccp_dml.main --mode=describe --dataset={name}" in message


def test_archives_in_another_format_are_named(tmp_path, manual_dir, accept):
    archives.write_birds(manual_dir)
    names = ("images", "train_test_split", "bounding_boxes")
    lists = {f"CUB_200_2011/{name}.txt": b"1 bird\n" for name in names}
    archives.write_tgz(manual_dir / "CUB_200_2011.tgz", lists)
    accept("cub200_2011")
    message = message_of("cub200_2011", tmp_path)
    assert message.startswith(f"cub200_2011 cannot be built from the files in {manual_dir}: ")


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "../../../../secret.jpg", "bicycle_final/../../x"]
)
def test_a_list_of_products_names_nothing_outside_its_folder(path, tmp_path, manual_dir, accept):
    archives.write_products(manual_dir)
    archive = manual_dir / "Stanford_Online_Products.zip"
    with zipfile.ZipFile(archive) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    name = "Stanford_Online_Products/Ebay_test.txt"
    files[name] += f"99 11319 12 {path}\n".encode()
    archives.write_zip(archive, files)
    accept("sop")
    (tmp_path / "secret.jpg").write_bytes(archives.jpeg("secret"))
    message = message_of("sop", tmp_path)
    assert f"{archive}: {name}, line 6, names something outside its folder: {path!r}" in message
    assert not (tmp_path / "sop").exists()


def test_what_is_no_image_is_not_stored(tmp_path, manual_dir, accept):
    archives.write_birds(manual_dir)
    archive = manual_dir / "CUB_200_2011.tgz"
    with tarfile.open(archive) as opened:
        files = {member.name: opened.extractfile(member).read() for member in opened}
    name = next(name for name in files if name.endswith(".jpg"))
    archives.write_tgz(archive, {**files, name: bytes(1000)})
    accept("cub200_2011")
    message = message_of("cub200_2011", tmp_path)
    assert f"the image for {tmp_path}/cub200_2011/images/" in message
    assert "is not in one of the formats JPEG" in message


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=re.escape(f"written to {tmp_path / 'file'}: ")):
        load_official("sop", str(tmp_path / "file"))


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(
        ValueError, match="unknown data set 'birds'; the official data sets are cub"
    ):
        load_official("birds", str(tmp_path))


@pytest.mark.parametrize("name", OFFICIAL_SETS)
def test_benchmarks_of_the_official_sets(name, tmp_path, manual_dir, accept):
    WRITERS[name](manual_dir)
    accept(name)
    benchmark = load(name, str(tmp_path), Preprocessing(8, scaling="bgr"))
    parts = {"train": benchmark.train, "test": benchmark.test}
    if name == "inshop":
        parts = {"train": benchmark.train, "query": benchmark.test, "gallery": benchmark.gallery}
    assert {
        split: SplitSize(len(data), data.num_classes) for split, data in parts.items()
    } == MINIATURE_SIZES[name]
    assert not set(benchmark.train.labels) & set(benchmark.test.labels)
    ((images, labels),) = training_batches(benchmark.train, 2, 2, seed=0).take(1)
    assert images.shape == (4, 8, 8, 3)
    assert set(labels.numpy()) <= set(benchmark.train.labels)
    embedded = np.concatenate(list(benchmark.test.evaluation_images()))
    assert embedded.shape == (len(benchmark.test), 8, 8, 3)
    assert embedded.min() < 0
