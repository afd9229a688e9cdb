"""The fingerprint of the samples of a run."""

import dataclasses

import pytest

from ccp_dml.experiment.data_fingerprint import fingerprint_data
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.training_data import load_benchmark, split_benchmark
from tests.data.pictures import write_classes

CLASSES = {"a": 4, "b": 3, "c": 4, "d": 3, "e": 4, "f": 3}


def fingerprint(folder, **changes):
    settings = Settings(
        dataset="folder", data_dir=str(folder), image_size=8, validation="samples", **changes
    )
    benchmark = load_benchmark(settings)
    return fingerprint_data(benchmark, split_benchmark(benchmark, settings))


@pytest.fixture
def pictures(tmp_path):
    write_classes(tmp_path / "pictures", CLASSES)
    return tmp_path / "pictures"


def test_a_data_set_may_be_moved(pictures):
    before = fingerprint(pictures)
    assert fingerprint(pictures) == before
    assert fingerprint(pictures.rename(pictures.with_name("elsewhere"))) == before


def add_image(pictures):
    (pictures / "b" / "9.jpg").write_bytes((pictures / "b" / "0.jpg").read_bytes())


def remove_image(pictures):
    (pictures / "f" / "2.jpg").unlink()


def rename_image(pictures):
    (pictures / "a" / "0.jpg").rename(pictures / "a" / "00.jpg")


def rename_class(pictures):
    (pictures / "f").rename(pictures / "g")


def relabel_image(pictures):
    (pictures / "a" / "3.jpg").rename(pictures / "b" / "3.jpg")


def add_class(pictures):
    write_classes(pictures, {"zz": 3})


@pytest.mark.parametrize(
    "change", [add_image, remove_image, rename_image, rename_class, relabel_image, add_class]
)
def test_changes_are_noticed(change, pictures):
    before = fingerprint(pictures)
    change(pictures)
    assert fingerprint(pictures) != before


def test_the_split_counts():
    def fold(number):
        settings = Settings(
            dataset="glyphs",
            dataset_params={"train_letters": 20, "samples_per_letter": 2},
            fold=number,
        )
        benchmark = load_benchmark(settings)
        data = split_benchmark(benchmark, settings)
        other_names = dataclasses.replace(benchmark, class_names=benchmark.class_names[::-1])
        return fingerprint_data(benchmark, data), fingerprint_data(other_names, data)

    assert len({*fold(1), *fold(2)}) == 4
    assert fold(1) == fold(1)
