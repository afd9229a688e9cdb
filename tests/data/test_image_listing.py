import os

import numpy as np
import pytest

from ccp_dml.data import ImageListing, list_benchmark, list_images, load


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def relative(listing, folder):
    return [path.removeprefix(f"{folder}/") for path in listing.images]


def test_a_flat_folder_has_no_classes(tmp_path):
    touch(tmp_path, "b.JPG", "a.png", ".hidden.png", "notes.txt")
    listing = list_images(tmp_path)
    assert relative(listing, tmp_path) == ["a.png", "b.JPG"]
    assert listing.labels is None
    assert listing.splits is None
    assert listing.in_files


def test_subfolders_are_classes(tmp_path):
    touch(tmp_path, "cat/1.jpg", "cat/kittens/2.jpg", "dog/3.webp", "0.jpg", ".git/4.jpg")
    listing = list_images(tmp_path)
    assert relative(listing, tmp_path) == ["0.jpg", "cat/1.jpg", "cat/kittens/2.jpg", "dog/3.webp"]
    assert listing.labels == [None, "cat", "cat", "dog"]
    assert listing.splits is None


def test_folders_of_splits(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "test/dog/2.jpg", "test/3.jpg")
    listing = list_images(tmp_path)
    assert relative(listing, tmp_path) == ["test/3.jpg", "test/dog/2.jpg", "train/cat/1.jpg"]
    assert listing.labels == [None, "dog", "cat"]
    assert listing.splits == ["test", "test", "train"]
    # With another folder beside them, train and test are classes.
    touch(tmp_path, "validated/4.jpg")
    assert list_images(tmp_path).labels == ["test", "test", "train", "validated"]


def test_a_csv_file(tmp_path):
    (tmp_path / "list.csv").write_text("path,label,split\na.jpg,cat,train\n/b.jpg,,\n")
    listing = list_images(tmp_path / "list.csv")
    assert listing.images == [f"{tmp_path}/a.jpg", "/b.jpg"]
    assert listing.labels == ["cat", None]
    assert listing.splits == ["train", None]


def test_one_image_whose_path_is_made_absolute(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)
    assert list_images("a.jpg").images == [f"{tmp_path}/a.jpg"]


def test_links_in_a_circle_end(tmp_path):
    touch(tmp_path, "cat/1.jpg")
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert relative(list_images(tmp_path), tmp_path) == ["cat/1.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\na.jpg\n", "must name the columns path and, optionally, label and split; got name"),
        ("path\n\n''\n", None),
        ("path,label\n,cat\n", "line 2 of .* has no path"),
        ("path,split\na.jpg,validation\n", "line 2 of .*: split must be one of train, "),
        ("path\na.jpg\n./a.jpg\n", None),
        (
            "path,label\na.jpg,cat\n./a.jpg,\n",
            "lines 2 and 3 of .* contradict each other: .*a.jpg is 'cat' and of no class",
        ),
        ("path,label\na.jpg,Smith, John\n", "line 2 of .* has more fields than"),
        ('path,label\na.jpg,"cat\nb.jpg,dog\n', "in the row that begins in line 2, "),
        ("path\n", "contains no images"),
        ("path\nfile:///a.jpg\n", "line 2 of .*file:///a.jpg"),
        ("", "must name the columns path"),
    ],
)
def test_wrong_lists_are_named(text, message, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    if message is None:
        assert len(list_images(tmp_path / "list.csv")) == 1
        return
    with pytest.raises(ValueError, match=message):
        list_images(tmp_path / "list.csv")


def test_other_sources_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"contains no images, which are files that end in \.jpg"):
        list_images(tmp_path)
    (tmp_path / "picture.tiff").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ValueError, match="neither a folder nor a CSV file"):
        list_images(tmp_path / "picture.tiff")
    with pytest.raises(ValueError, match="labels must have one entry for each of 2 images; got 1"):
        ImageListing(["a", "b"], ["cat"])


def test_all_splits_of_a_data_set():
    digits = load("digits")
    listing = list_benchmark(digits)
    assert len(listing) == 1797
    assert listing.splits == ["train"] * 901 + ["test"] * 896
    assert listing.labels[:901] == digits.train.labels.tolist()
    assert not listing.in_files
    np.testing.assert_array_equal(
        listing.images[901:], np.round(255 * digits.test.images).astype("uint8")
    )


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(ValueError, match=r"list.csv is neither a folder nor a file"):
        list_images(tmp_path / "list.csv")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe.png is not a file"):
        list_images(tmp_path).read_some(5)


def test_images_are_read_evenly_spread(tmp_path):
    for number in range(7):
        (tmp_path / f"{number}.png").write_text(str(number))
    listing = list_images(tmp_path)
    assert listing.read_some(7) == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert listing.read_some(3) == [b"0", b"3", b"6"]
    (tmp_path / "3.png").unlink()
    with pytest.raises(FileNotFoundError):
        listing.read_some(3)
