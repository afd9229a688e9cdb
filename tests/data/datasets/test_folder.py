import logging
import os
import pathlib
import types

import numpy as np
import pytest
from absl import logging as absl_logging

from ccp_dml.data import image_check, index_folder, load
from tests.data.pictures import encoded, gradient, write_classes

SIZES = {"boot": 3, "heel": 2, "loafer": 4, "sandal": 2}


@pytest.fixture
def shoes(tmp_path):
    write_classes(tmp_path / "shoes", SIZES)
    return tmp_path / "shoes"


@pytest.fixture
def warnings_of(caplog, monkeypatch):
    monkeypatch.setattr(absl_logging.get_absl_logger(), "propagate", True)
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def write_csv(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


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
        match="but also other folders: dev; the folders of a split are train, val, test, query",
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
    assert any("1 files in" in message and "alone.jpg" in message for message in warnings_of())


def test_files_that_cannot_be_read(shoes):
    os.mkfifo(shoes / "boot" / "pipe.jpg")
    (shoes / "boot" / "gone.jpg").symlink_to(shoes / "nowhere.jpg")
    os.symlink(shoes / "heel" / "0.jpg", os.fsencode(shoes / "heel") + b"/\xff.jpg")
    with pytest.raises(ValueError, match="3 of 14 files") as error:
        index_folder(str(shoes))
    for problem in ("pipe.jpg (is not a file)", "gone.jpg (is not a file)", "not UTF-8"):
        assert problem in str(error.value)


def test_addresses_that_cannot_be_read_are_named():
    for address in ("s3://nowhere/x", "http://nowhere/x"):
        with pytest.raises(ValueError, match=address):
            load("folder", address)


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
            "line 2 of .* more fields than .* columns, path, label; the first of them is 'John'",
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
            "both of the splits query and gallery; got only query",
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
            "either the split test or the splits query and gallery; got both",
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


def damage(shoes):
    whole = encoded(gradient(40, 40))
    (shoes / "boot" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (shoes / "boot" / "empty.jpg").write_bytes(b"")
    (shoes / "heel" / "text.jpg").write_text("this is no image")
    png = bytearray(encoded(gradient(40, 40), "PNG"))
    png[len(png) // 2] ^= 255
    (shoes / "heel" / "flipped.png").write_bytes(png)
    (shoes / "heel" / "photo.tiff").write_bytes(encoded(gradient(4, 4), "TIFF"))


def test_bad_images_stop_with_a_list(shoes):
    damage(shoes)
    with pytest.raises(ValueError, match="max_bad_images is 0") as error:
        index_folder(str(shoes))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("5 of 16 files")
    for name, problem in [
        ("boot/cut.jpg", "is damaged"),
        ("boot/empty.jpg", "is empty"),
        ("heel/text.jpg", "is not in one of the formats JPEG, PNG, GIF, BMP, WEBP"),
        ("heel/flipped.png", "is damaged"),
        ("heel/photo.tiff", "is not in one of the formats JPEG, PNG, GIF, BMP, WEBP"),
    ]:
        assert f"{shoes / name} ({problem})" in message


def test_bad_images_are_skipped_up_to_a_number(shoes, warnings_of):
    damage(shoes)
    with pytest.raises(ValueError, match="max_bad_images is 4"):
        index_folder(str(shoes), max_bad_images=4)
    index = index_folder(str(shoes), max_bad_images=5)
    assert len(index) == sum(SIZES.values())
    messages = warnings_of()
    (message,) = (message for message in messages if "Skipped 5 bad images of 16 files" in message)
    assert "cut.jpg (is damaged)" in message
    assert message == f"{index.notes[0]}."


def test_long_lists_are_cut_short(tmp_path):
    (tmp_path / "class").mkdir()
    for number in range(30):
        (tmp_path / "class" / f"{number}.jpg").write_text("no image")
    with pytest.raises(ValueError, match="and 10 more"):
        index_folder(str(tmp_path))
    with pytest.raises(ValueError, match="none of the 30 files is an image"):
        index_folder(str(tmp_path), max_bad_images=30)


def test_images_are_checked_once_unless_they_change(shoes, monkeypatch):
    index_folder(str(shoes))
    looked_at = []
    original = image_check._find_problem

    def counted(path, *others):
        looked_at.append(path)
        return original(path, *others)

    monkeypatch.setattr(image_check, "_find_problem", counted)
    index_folder(str(shoes))
    assert looked_at == []
    os.remove(shoes / "boot" / "2.jpg")
    assert len(index_folder(str(shoes))) == sum(SIZES.values()) - 1
    assert looked_at == []
    (shoes / "boot" / "1.jpg").write_bytes(b"not an image any more")
    with pytest.raises(ValueError, match="is not in one of the formats JPEG"):
        index_folder(str(shoes))
    assert [os.path.basename(path) for path in looked_at] == ["1.jpg"]


def test_files_that_could_not_be_read_are_read_again(shoes, monkeypatch):
    locked = str(shoes / "boot" / "0.jpg")

    def read(path):
        if path == locked:
            raise PermissionError(f"[Errno 13] Permission denied: {path!r}")
        return pathlib.Path(path)

    with monkeypatch.context() as context:
        context.setattr(image_check, "epath", types.SimpleNamespace(Path=read))
        found = image_check.image_problems([locked, str(shoes / "heel" / "0.jpg")], "shoes")
    assert found == {locked: f"cannot be read: [Errno 13] Permission denied: {locked!r}"}
    assert not image_check.image_problems([locked], "shoes")


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
    with pytest.raises(ValueError, match="data_dir is missing: name the folder of the data set"):
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
    assert index.notes == (f"2 rows of {file} repeat others and are counted once: lines 10, 11",)
    assert f"{index.notes[0]}." in warnings_of()


def test_lines_may_end_with_commas_and_texts_have_quotation_marks(shoes):
    rows = [f"{name}/{number}.jpg,{name},," for name in SIZES for number in range(2)]
    rows[0] = 'boot/0.jpg,"boot, 5"" high",'
    rows[1] = 'boot/1.jpg,"boot, 5"" high"'
    index = index_folder(write_csv(shoes / "list.csv", "path,label,,", *rows))
    assert index.class_names == ('boot, 5" high', "heel", "loafer", "sandal")


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
        f"1 files in {shoes} belong to no class: alone.jpg",
        f"2 folders in {shoes} are inside the folder of a class, and so are their images: "
        "boot/brown, boot/brown/new",
        "Skipped 4 files that are not images: heel/Thumbs.db, heel/desktop.ini, heel/film.mp4, "
        "hollow/readme.md",
        "2 of 6 class folders contain no images: empty, hollow",
    )
    assert {f"{note}." for note in index.notes} <= set(warnings_of())
    assert load("folder", str(shoes)).notes == index.notes


def test_images_need_no_suffix_but_a_suffix_promises_an_image(shoes):
    (shoes / "boot" / "scan0001").write_bytes(encoded(gradient(5, 5)))
    (shoes / "boot" / "scan0002.dat").write_bytes(encoded(gradient(5, 5), "PNG"))
    assert np.bincount(index_folder(str(shoes)).labels)[0] == 5
    (shoes / "boot" / "cut").write_bytes(encoded(gradient(40, 40))[:400])
    (shoes / "boot" / "text.JPG").write_text("no image")
    with pytest.raises(ValueError, match=r"2 of 15 files") as error:
        index_folder(str(shoes))
    assert "boot/cut (is damaged)" in str(error.value)
    assert "boot/text.JPG (is not in one of the formats JPEG" in str(error.value)


def test_a_listed_file_is_meant_to_be_an_image(shoes):
    (shoes / "boot" / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"1 of 1 .*notes.txt \(is not in one of the formats JPEG"):
        index_folder(write_csv(shoes / "list.csv", "path,label", "boot/notes.txt,boot"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
def test_other_formats_are_images(shoes, kind):
    (shoes / "boot" / f"x.{kind.lower()}").write_bytes(encoded(gradient(9, 7), kind))
    assert len(index_folder(str(shoes))) == sum(SIZES.values()) + 1
    (shoes / "boot" / "cut.jpg").write_bytes(encoded(gradient(9, 7), kind)[:-60])
    with pytest.raises(ValueError, match=r"cut.jpg \(is damaged\)"):
        index_folder(str(shoes))


def test_large_images_are_refused_before_they_are_decoded(shoes, monkeypatch):
    (shoes / "boot" / "large.png").write_bytes(encoded(gradient(60, 50), "PNG"))
    decoded = []
    original = image_check._decode
    monkeypatch.setattr(
        image_check, "_decode", lambda data: decoded.append(len(data)) or original(data)
    )
    with pytest.raises(ValueError, match=r"large.png \(has 50 x 60 pixels, more than max_pixels,"):
        index_folder(str(shoes), max_pixels=2999)
    assert len(decoded) == sum(SIZES.values())
    # What was found is kept for this bound only.
    assert len(index_folder(str(shoes), max_pixels=3000)) == sum(SIZES.values()) + 1


def test_files_too_large_for_memory_are_not_read(shoes, monkeypatch):
    large = shoes / "boot" / "large.jpg"
    large.write_bytes(encoded(gradient(6, 5)))
    os.truncate(large, 2**26)
    monkeypatch.setattr(image_check, "_decode", lambda data: None)
    with pytest.raises(ValueError, match=r"large.jpg \(has 67,108,864 bytes, too many for max_pix"):
        index_folder(str(shoes), max_pixels=1000)


def test_names_that_do_not_fit_in_a_line(shoes):
    write_classes(shoes, {"mule": 2})
    (shoes / "heel").rename(shoes / "he\nel")
    os.rename(shoes / "boot", os.fsencode(shoes) + b"/b\xff\xf0\x9f\x91\xa2")
    with pytest.raises(ValueError, match=r"3 of 13 files .*/b\\udcff👢/0.jpg \(has a name that is"):
        index_folder(str(shoes))
    index = index_folder(str(shoes), max_bad_images=3)
    assert index.class_names == ("he\\nel", "loafer", "mule", "sandal")
    assert sum("he\nel" in path for path in index.paths) == 2


def test_only_files_are_read_as_lists(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match=f"data_dir {path} is neither a folder nor a file"):
            index_folder(str(path))
    with pytest.raises(ValueError, match=r"cannot contain a NUL character; got '.*a\\x00b'"):
        index_folder(f"{tmp_path}/a\0b")


def test_folders_that_lead_to_themselves(shoes):
    (shoes / "boot" / "me").symlink_to(shoes / "boot" / "me")
    (shoes / "self").symlink_to(shoes / "self")
    (shoes / "boot" / "x.jpg").mkdir()
    index = index_folder(str(shoes))
    assert len(index) == sum(SIZES.values())
    assert any("boot/x.jpg" in note for note in index.notes)
    assert any("self" in note for note in index.notes)


def test_bmps_that_are_not_read_are_not_called_damaged(shoes):
    contents = bytearray(encoded(gradient(5, 5), "BMP"))
    contents[28] = 16
    (shoes / "boot" / "16 bits.bmp").write_bytes(contents)
    with pytest.raises(ValueError, match=r"16 bits.bmp \(is a BMP that is compressed, of"):
        index_folder(str(shoes))
