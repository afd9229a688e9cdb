"""CSV files that list images: their columns, splits and mistakes."""

import os

import numpy as np
import pytest

from ccp_dml.data import index_folder, load
from tests.data.datasets.shoes import SIZES, write_csv
from tests.data.pictures import encoded, gradient


def test_a_csv_file_lists_images(shoes):
    file = write_csv(
        shoes / "list.csv",
        "path,label,split",
        "boot/0.jpg,red,train",
        "boot/1.jpg,red,train",
        f"{shoes}/heel/0.jpg,blue,train",
        "heel/1.jpg,blue,train",
        "loafer/0.jpg,7,query",
        "loafer/1.jpg,7,gallery",
        '"sandal/0.jpg","eight, or so",query',
        "sandal/1.jpg,7,gallery",
    )
    benchmark = load("folder", file)
    assert benchmark.class_names == ("7", "blue", "eight, or so", "red")
    np.testing.assert_array_equal(benchmark.train.labels, [1, 1, 3, 3])
    np.testing.assert_array_equal(benchmark.test.labels, [0, 2])
    np.testing.assert_array_equal(benchmark.gallery.labels, [0, 0])


def test_a_csv_file_without_splits_is_split_by_class(shoes):
    rows = [f"{name}/{number}.jpg,{name}" for name in SIZES for number in range(2)]
    index = index_folder(write_csv(shoes / "list.csv", "path,label", *rows))
    assert index.sizes()["train"].classes == index.sizes()["test"].classes == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,class", "a,b"], "must name the columns path, label .* got file, class"),
        (["path,label", "boot/0.jpg,"], "line 2 of .* has no label"),
        (["path,label", ",boot"], "line 2 of .* has no path"),
        (["path,label,split", "boot/0.jpg,a,dev"], "must be one of train, .* got 'dev'"),
        (["path,label,split", "boot/0.jpg,a,"], "line 2 .* must be one of train, .* got ''"),
        (
            ["path,label", "a.jpg,a", "b.jpg,a", "./a.jpg,b"],
            "lines 2 and 4 of .*list.csv contradict each other: .*a.jpg is 'a' and 'b'",
        ),
        (
            ["path,label,split", "a.jpg,a,train", "a.jpg,a,test"],
            "lines 2 and 3 of .* contradict .*a.jpg is 'a' in train and 'a' in test",
        ),
        (["path,label", "file:///etc/passwd,a"], "line 2 of .*: file:///etc/passwd is neither a"),
        (["path,label", "b.jpg,a", "xyz://a/b.jpg,a"], "line 3 of .*: xyz://a/b.jpg is neither a"),
        (
            ["path,label,split", "boot/0.jpg,a,train", "boot/1.jpg,a,val"],
            "there are only images of train and val, and none to test on",
        ),
        (
            ["path,label", "boot/0.jpg,Smith, John"],
            r"line 2 of .* more fields than .* columns \(path, label\), starting with 'John'",
        ),
        (
            ["path,label", "boot/0.jpg,boot", 'heel/0.jpg,"5 inch heel', "heel/1.jpg,heel"],
            "not a CSV file: in the row that begins in line 3, unexpected end of data",
        ),
        (
            ["path,label", 'boot/0.jpg,"5" nail"', "boot/1.jpg,boot"],
            "not a CSV file: in the row that begins in line 2, .*expected",
        ),
        (["path,label"], "contains no images: each line"),
        ([], "must name the columns path, label .* got nothing"),
        (["path,label,label", "boot/0.jpg,a,b"], "names the column label more than once"),
        (["path,label", "", "", "boot/0.jpg,"], "line 4 of .* has no label"),
        (["path,label", "a\0.jpg,a"], r"line 2 of .* NUL .*'a\\x00.jpg'|not a CSV file"),
        (
            [
                "path,label,split",
                *(f"boot/{number}.jpg,{number},train" for number in range(3)),
                "heel/0.jpg,x,query",
                "heel/1.jpg,y,gallery",
            ],
            "no query has an image of its class in the gallery",
        ),
        (
            [
                "path,label,split",
                *(f"boot/{number}.jpg,{number},train" for number in range(3)),
                *(f"heel/{number}.jpg,a{number},test" for number in range(2)),
            ],
            "no class to test on has two images",
        ),
        (["path,label", "gone.jpg,a"], r"1 of 1 files .*gone.jpg \(is not a file\)"),
        (
            ["path,label,split", "boot/0.jpg,a,train", "boot/1.jpg,a,test"],
            "no class in common; both have a",
        ),
        (
            ["path,label,split", "boot/0.jpg,a,train", "boot/1.jpg,b,query"],
            "both the query and the gallery split; got only query",
        ),
        (
            ["path,label,split", "boot/0.jpg,a,train", "boot/1.jpg,b,test"],
            "at least 2 classes to train on; got 1",
        ),
        (
            [
                "path,label,split",
                "boot/0.jpg,a,train",
                "boot/1.jpg,b,train",
                "heel/0.jpg,c,test",
                "heel/1.jpg,d,query",
            ],
            "either the test split or the query and gallery splits; got both",
        ),
    ],
)
def test_wrong_csv_files_are_named(shoes, lines, message):
    with pytest.raises(ValueError, match=message):
        index_folder(write_csv(shoes / "list.csv", *lines))


def test_a_csv_file_must_be_text(tmp_path):
    (tmp_path / "list.csv").write_bytes(encoded(gradient(8, 8)))
    with pytest.raises(ValueError, match="nor a CSV file in UTF-8"):
        index_folder(str(tmp_path / "list.csv"))


def test_val_in_a_csv_file(shoes):
    splits = {"boot": "train", "heel": "train", "loafer": "test", "sandal": "test"}
    rows = [f"{name}/{number}.jpg,{name},{splits[name]}" for name in SIZES for number in range(2)]
    rows += ["boot/2.jpg,x,val", "loafer/2.jpg,y,val", "loafer/3.jpg,y,val"]
    index = index_folder(write_csv(shoes / "list.csv", "path,label,split", *rows))
    assert index.sizes()["val"] == (3, 2)


def test_repeated_rows_count_once(shoes, warnings_of):
    rows = [f"{name}/{number}.jpg,{name}" for name in SIZES for number in range(2)]
    file = write_csv(shoes / "list.csv", "path,label", *rows, "./boot/0.jpg, boot", rows[3])
    index = index_folder(file)
    assert len(index) == 8
    assert index.notes == (f"repeated rows of {file} (2) are counted once; their lines: 10, 11",)
    assert f"{index.notes[0]}." in warnings_of()


def test_lines_may_end_with_commas_and_texts_have_quotation_marks(shoes):
    rows = [f"{name}/{number}.jpg,{name},," for name in SIZES for number in range(2)]
    rows[0] = 'boot/0.jpg,"boot, 5"" high",'
    rows[1] = 'boot/1.jpg,"boot, 5"" high"'
    index = index_folder(write_csv(shoes / "list.csv", "path,label,,", *rows))
    assert index.class_names == ('boot, 5" high', "heel", "loafer", "sandal")


def test_only_files_are_read_as_lists(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match=f"data_dir {path} is neither a folder nor a file"):
            index_folder(str(path))
    with pytest.raises(ValueError, match=r"cannot contain a NUL character; got '.*a\\x00b'"):
        index_folder(f"{tmp_path}/a\0b")
