"""Folders of images: their classes, splits, links and names."""

import os

import numpy as np
import pytest

from ccp_dml.data import index_folder, load
from tests.data.datasets.shoes import SIZES
from tests.data.pictures import encoded, gradient, write_classes


def test_a_subfolder_is_a_class(shoes):
    index = index_folder(str(shoes))
    assert index.class_names == tuple(SIZES)
    np.testing.assert_array_equal(np.bincount(index.labels), list(SIZES.values()))
    for path, label in zip(index.paths, index.labels, strict=True):
        assert os.path.basename(os.path.dirname(path)) == index.class_names[label]
        assert os.path.exists(path)


def test_classes_are_drawn_to_test_on(shoes):
    index = index_folder(str(shoes))
    assert set(index.splits) == {"train", "test"}
    for label in range(4):
        assert len(set(index.splits[index.labels == label])) == 1
    again = index_folder(str(shoes))
    np.testing.assert_array_equal(index.splits, again.splits)
    assert index.sizes()["test"].classes == 2
    drawn = {tuple(index_folder(str(shoes), split_seed=seed).splits) for seed in range(12)}
    assert len(drawn) > 2


def test_the_part_to_test_on_is_settable(tmp_path):
    write_classes(tmp_path, {f"class{number}": 2 for number in range(10)}, 4, 4)
    assert index_folder(str(tmp_path), test_fraction=0.3).sizes()["test"].classes == 3
    assert load("folder", str(tmp_path), test_fraction=0.2).test.num_classes == 2


def test_images_may_lie_deeper_and_be_hidden(shoes):
    (shoes / "boot" / "brown" / "new").mkdir(parents=True)
    (shoes / "boot" / "brown" / "new" / "x.png").write_bytes(encoded(gradient(5, 5), "PNG"))
    (shoes / "boot" / ".trash").mkdir()
    (shoes / "boot" / ".trash" / "x.jpg").write_bytes(b"no image")
    (shoes / ".git").mkdir()
    (shoes / ".git" / "x.jpg").write_bytes(b"no image")
    (shoes / "boot" / ".DS_Store").write_bytes(b"no image")
    (shoes / "notes.txt").write_text("no class")
    index = index_folder(str(shoes))
    np.testing.assert_array_equal(np.bincount(index.labels), [4, 2, 4, 2])


def test_folders_named_train_and_test_give_the_split(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 3})
    write_classes(tmp_path / "test", {"c": 2, "d": 1})
    index = index_folder(str(tmp_path))
    names = np.array(index.class_names)[index.labels]
    assert set(names[index.splits == "train"]) == {"a", "b"}
    assert set(names[index.splits == "test"]) == {"c", "d"}


def test_folders_of_queries_and_a_gallery(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 3})
    for split in ("query", "gallery"):
        write_classes(tmp_path / split, {"c": 2, "d": 1})
    (tmp_path / "__MACOSX").mkdir()
    benchmark = load("folder", str(tmp_path))
    assert (len(benchmark.train), len(benchmark.test), len(benchmark.gallery)) == (5, 3, 3)
    write_classes(tmp_path / "dev", {"e": 2})
    with pytest.raises(
        ValueError,
        match="but also other folders: dev; the folders for splits are train, val, test, query",
    ):
        load("folder", str(tmp_path))


def test_train_may_be_a_class(tmp_path):
    write_classes(tmp_path, {"bus": 2, "car": 2, "test": 2, "train": 2})
    assert index_folder(str(tmp_path)).class_names == ("bus", "car", "test", "train")


def test_links_are_followed_once(shoes):
    (shoes / "boot" / "more").symlink_to(shoes / "heel")
    (shoes / "heel" / "up").symlink_to(shoes / "heel")
    np.testing.assert_array_equal(np.bincount(index_folder(str(shoes)).labels), [5, 2, 4, 2])


def test_a_link_to_a_folder_above_adds_no_images(shoes):
    (shoes / "boot" / "up").symlink_to(shoes)
    (shoes / "heel" / "deeper").mkdir()
    (shoes / "heel" / "deeper" / "up").symlink_to(shoes.parent)
    np.testing.assert_array_equal(np.bincount(index_folder(str(shoes)).labels), [3, 2, 4, 2])


def test_loose_files_are_reported(shoes, warnings_of):
    (shoes / "alone.jpg").write_bytes(encoded(gradient(5, 5)))
    index_folder(str(shoes))
    assert any("files in" in message and "alone.jpg" in message for message in warnings_of())


def test_addresses_that_cannot_be_read_are_named():
    for address in ("s3://nowhere/x", "http://nowhere/x"):
        with pytest.raises(ValueError, match=address):
            load("folder", address)


def test_single_images_are_reported(tmp_path, warnings_of):
    write_classes(tmp_path, {"a": 2, "b": 1, "c": 3, "d": 1})
    assert len(index_folder(str(tmp_path))) == 7
    (message,) = (message for message in warnings_of() if "positive pair" in message)
    assert message.startswith("2 of 4 classes have a single image")
    assert message.endswith(": b, d.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_fraction": 1.0}, "test_fraction must be between 0 and 1; got 1.0"),
        ({"split_seed": 0.5}, "split_seed must be a whole number of at least 0; got 0.5"),
        ({"max_bad_images": -1}, "max_bad_images must be a whole number of at least 0; got -1"),
        ({"test_fraction": 0.1}, "at least 2 classes to test on; got 0"),
    ],
)
def test_wrong_arguments_are_named(shoes, arguments, message):
    with pytest.raises(ValueError, match=message):
        index_folder(str(shoes), **arguments)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"data_dir .*nowhere does not exist: name a folder"):
        index_folder(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="contains no images"):
        index_folder(str(tmp_path))
    with pytest.raises(ValueError, match="data_dir is missing: name a folder with a subfolder"):
        load("folder")
    with pytest.raises(ValueError, match="folder has no parameter 'letters'; it takes test_frac"):
        load("folder", str(tmp_path), letters=3)


def test_a_val_split_validates(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 3})
    write_classes(tmp_path / "val", {"b": 2, "c": 2})
    write_classes(tmp_path / "test", {"d": 2, "e": 1})
    index = index_folder(str(tmp_path))
    names = np.array(index.class_names)[index.labels]
    assert names[index.splits == "val"].tolist() == ["b", "b", "c", "c"]
    benchmark = load("folder", str(tmp_path))
    np.testing.assert_array_equal(benchmark.validation.labels, [1, 1, 2, 2])
    np.testing.assert_array_equal(benchmark.test.labels, [3, 3, 4])
    (tmp_path / "test" / "d").rename(tmp_path / "test" / "c")
    with pytest.raises(ValueError, match=r"validation and test must have no class .* both have c"):
        index_folder(str(tmp_path))
    (tmp_path / "test").rename(tmp_path / ".test")
    with pytest.raises(ValueError, match="only images of train and val, and none to test on"):
        index_folder(str(tmp_path))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": 2}, "at least 2 classes to validate on; got 1"),
        ({"a": 1, "c": 1}, "no class to validate on has two images"),
    ],
)
def test_a_validation_split_needs_a_pair_of_one_class(tmp_path, classes, message):
    write_classes(tmp_path / "train", {"a": 2, "b": 3})
    write_classes(tmp_path / "val", classes)
    write_classes(tmp_path / "test", {"d": 2, "e": 1})
    with pytest.raises(ValueError, match=message):
        index_folder(str(tmp_path))


def test_what_is_odd_about_a_folder_is_noted(shoes, warnings_of):
    (shoes / "boot" / "brown" / "new").mkdir(parents=True)
    (shoes / "boot" / "brown" / "new" / "x.png").write_bytes(encoded(gradient(5, 5), "PNG"))
    (shoes / "empty").mkdir()
    (shoes / "hollow").mkdir()
    (shoes / "hollow" / "readme.md").write_text("pictures to come")
    (shoes / "heel" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (shoes / "heel" / "desktop.ini").write_bytes(b"")
    (shoes / "heel" / "film.mp4").symlink_to("nowhere")
    (shoes / "alone.jpg").write_bytes(encoded(gradient(5, 5)))
    index = index_folder(str(shoes))
    np.testing.assert_array_equal(np.bincount(index.labels), [4, 2, 4, 2])
    assert index.class_names == tuple(SIZES)
    assert index.notes == (
        f"files in {shoes} that belong to no class (1): alone.jpg",
        f"folders in {shoes} inside class folders (2): boot/brown, boot/brown/new; their images "
        "belong to those classes",
        "Skipped files that are not images (4): heel/Thumbs.db, heel/desktop.ini, heel/film.mp4, "
        "hollow/readme.md",
        "2 of 6 class folders contain no images: empty, hollow",
    )
    assert {f"{note}." for note in index.notes} <= set(warnings_of())
    assert load("folder", str(shoes)).notes == index.notes


def test_names_that_do_not_fit_in_a_line(shoes):
    write_classes(shoes, {"mule": 2})
    (shoes / "heel").rename(shoes / "he\nel")
    os.rename(shoes / "boot", os.fsencode(shoes) + b"/b\xff\xf0\x9f\x91\xa2")
    with pytest.raises(ValueError, match=r"3 of 13 files .*/b\\udcff👢/0.jpg \(has a name that is"):
        index_folder(str(shoes))
    index = index_folder(str(shoes), max_bad_images=3)
    assert index.class_names == ("he\\nel", "loafer", "mule", "sandal")
    assert sum("he\nel" in path for path in index.paths) == 2


def test_folders_that_lead_to_themselves(shoes):
    (shoes / "boot" / "me").symlink_to(shoes / "boot" / "me")
    (shoes / "self").symlink_to(shoes / "self")
    (shoes / "boot" / "x.jpg").mkdir()
    index = index_folder(str(shoes))
    assert len(index) == sum(SIZES.values())
    assert any("boot/x.jpg" in note for note in index.notes)
    assert any("self" in note for note in index.notes)
