import pathlib
import tempfile
import zipfile

import pytest
import tensorflow_datasets as tfds

from ccp_dml.data.datasets import inshop
from ccp_dml.data.datasets.inshop import InShop
from tests.data import archives


class InShopTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = InShop
    SPLITS = {"train": 6, "query": 2, "gallery": 4}  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        archives.write_inshop(pathlib.Path(folder.name))
        cls.EXAMPLE_DIR = folder.name
        super().setUpClass()


@pytest.fixture
def manual_dir(tmp_path):
    path = tmp_path / "downloads" / "manual"
    archives.write_inshop(path)
    return path


def load(data_dir):
    return tfds.load("inshop", data_dir=data_dir, split=["train", "query", "gallery"])


def test_examples(tmp_path, manual_dir):
    train, query, gallery = map(list, load(tmp_path))
    assert len(train) == 6
    (example,) = (row for row in query if row["item_id"] == b"id_00000007")
    assert example["label"] == 3
    assert example["path"] == b"img/WOMEN/Blouses_Shirts/id_00000007/01_1_front.jpg"
    assert example["image"].shape == (8, 12, 3)
    assert {int(row["label"]) for row in gallery} == {1, 3}
    assert "Liu, Ziwei" in InShop(data_dir=tmp_path).info.citation


@pytest.mark.parametrize("extracted", [False, True])
def test_the_official_files_may_be_in_a_bucket(tmp_path, bucket, extracted):
    archives.write_inshop(bucket, extracted)
    builder = tfds.builder("inshop", data_dir=tmp_path)
    config = tfds.download.DownloadConfig(manual_dir="gs://bucket", try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
    assert builder.info.splits["gallery"].num_examples == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("12\n", "13\n", r"line 1: expected the number of the images listed below, 12; got '13'"),
        ("query\n", "\n", r"line 6: expected a path, an item id and one of train, query, gallery"),
        ("gallery\n", "test\n", r"line 7: expected .*; got 'img/WOMEN/.* test'"),
    ],
)
def test_a_wrong_line_of_the_partition_is_named(tmp_path, manual_dir, old, new, message):
    partition = manual_dir / "inshop" / "Eval" / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"list_eval_partition.txt, {message}"):
        load(tmp_path)


def test_an_image_that_the_archive_has_not_is_named(tmp_path, manual_dir):
    partition = manual_dir / "inshop" / "Eval" / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace("02_1_front", "09_1_front", 1))
    with pytest.raises(ValueError, match=r"img.zip has no img/.*/id_00000001/09_1_front.jpg"):
        load(tmp_path)


def test_an_image_that_the_folder_has_not_is_named(tmp_path):
    manual_dir = tmp_path / "downloads" / "manual"
    archives.write_inshop(manual_dir, extracted=True)
    next((manual_dir / "inshop" / "Img").rglob("*.jpg")).unlink()
    with pytest.raises(ValueError, match=r"Img/img/.*front.jpg is missing"):
        load(tmp_path)


def test_a_damaged_archive_is_named(tmp_path, manual_dir):
    (manual_dir / "inshop" / "Img" / "img.zip").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"img.zip cannot be read: File is not a zip file"):
        load(tmp_path)


def test_missing_files_are_named(tmp_path, manual_dir):
    (manual_dir / "inshop" / "Img" / "img.zip").unlink()
    with pytest.raises(ValueError, match=r"img.zip is missing, and so is the folder .*Img/img"):
        load(tmp_path)
    (manual_dir / "inshop" / "Eval" / "list_eval_partition.txt").unlink()
    with pytest.raises(ValueError, match=r"list_eval_partition.txt is missing"):
        load(tmp_path)


def write_row(manual_dir, path):
    """Replaces the path in line 3 of the partition file."""
    partition = manual_dir / "inshop" / "Eval" / "list_eval_partition.txt"
    lines = partition.read_text().splitlines(keepends=True)
    lines[2] = f"{path} {lines[2].split(maxsplit=1)[1]}"
    partition.write_text("".join(lines))


@pytest.mark.parametrize("path", ["/etc/hostname", "img/../../../secret.jpg", "../secret.jpg", "x"])
@pytest.mark.parametrize("extracted", [False, True])
def test_nothing_outside_the_folder_is_read(tmp_path, path, extracted):
    manual_dir = tmp_path / "downloads" / "manual"
    archives.write_inshop(manual_dir, extracted)
    (manual_dir / "inshop" / "secret.jpg").write_bytes(archives.jpeg("secret"))
    write_row(manual_dir, path)
    with pytest.raises(
        ValueError, match=r"partition.txt, line 3: expected a path below .* img; got"
    ):
        load(tmp_path)


def test_links_do_not_lead_out_of_the_folder(tmp_path):
    manual_dir = tmp_path / "downloads" / "manual"
    archives.write_inshop(manual_dir, extracted=True)
    images = manual_dir / "inshop" / "Img" / "img"
    # The folder itself may be a link.
    images.rename(tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    (image, *_) = sorted((tmp_path / "elsewhere").rglob("*.jpg"))
    image.rename(tmp_path / "secret.jpg")
    image.symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match=r"01_1_front.jpg is a link that leads out of .*Img/img"):
        load(tmp_path)
    image.unlink()
    image.symlink_to(image.with_name("02_1_front.jpg"))
    assert len(load(tmp_path)) == 3


def test_a_binary_partition_is_named(tmp_path, manual_dir):
    partition = manual_dir / "inshop" / "Eval" / "list_eval_partition.txt"
    partition.write_bytes(archives.jpeg("no list"))
    with pytest.raises(ValueError, match=r"list_eval_partition.txt is not a text file"):
        load(tmp_path)


@pytest.mark.parametrize("extracted", [False, True])
def test_zeros_are_not_stored_as_an_image(tmp_path, extracted):
    manual_dir = tmp_path / "downloads" / "manual"
    archives.write_inshop(manual_dir, extracted)
    name = "img/WOMEN/Blouses_Shirts/id_00000002/01_1_front.jpg"
    folder = manual_dir / "inshop" / "Img"

    def replace(contents):
        if extracted:
            (folder / name).write_bytes(contents)
            return
        with zipfile.ZipFile(folder / "img.zip") as opened:
            files = {other: opened.read(other) for other in opened.namelist()}
        archives.write_zip(folder / "img.zip", {**files, name: contents})

    replace(bytes(1000))
    with pytest.raises(ValueError, match=f"{name} is not in one of the formats JPEG, PNG"):
        load(tmp_path)
    replace(bytes(inshop.MAX_IMAGE_BYTES + 1))
    with pytest.raises(ValueError, match=f"{name} has more than 33,554,432 bytes"):
        load(tmp_path)
