"""What a run trains and validates on."""

import dataclasses

import numpy as np
import pytest

from ccp_dml.data import Benchmark, LabeledImages, class_pools, training_batches
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.training_data import (
    load_benchmark,
    sampler_arguments,
    split_benchmark,
)
from tests.data.pictures import write_classes


@pytest.mark.parametrize(
    ("backbone", "scaling", "expected"),
    [
        ("small_convnet", "auto", "unit"),
        ("EfficientNetV2B0", "auto", "raw"),
        ("bn_inception", "auto", "bgr"),
        ("bn_inception", "torch", "torch"),
    ],
)
def test_values_are_scaled_as_the_backbone_wants_them(tmp_path, backbone, scaling, expected):
    write_classes(tmp_path, {f"class{number}": 2 for number in range(4)})
    settings = Settings(
        dataset="folder", data_dir=str(tmp_path), image_size=8, backbone=backbone, scaling=scaling
    )
    assert load_benchmark(settings).train.preprocessing.scaling == expected


LABELS = np.repeat([3, 4, 7, 8, 9, 12], 5)


@pytest.fixture
def benchmark():
    """Images whose value is their number, of six training classes."""
    images = np.arange(30, dtype="float32").reshape(-1, 1, 1, 1)
    train = LabeledImages(images, LABELS)
    test, gallery = (LabeledImages(images[:4] + 100, np.array([20, 20, 21, 21])) for _ in range(2))
    return Benchmark(train=train, test=test, gallery=gallery)


def numbers(part):
    return part.images.ravel().astype(int).tolist()


def test_a_fold_of_the_classes_validates(benchmark):
    data = split_benchmark(benchmark, Settings(num_folds=3, fold=2))
    expected = np.isin(LABELS, [7, 8])
    assert numbers(data.validation) == np.flatnonzero(expected).tolist()
    assert numbers(data.train) == np.flatnonzero(~expected).tolist()
    np.testing.assert_array_equal(data.train.labels, np.repeat([0, 1, 2, 3], 5))
    assert data.validation_gallery is None


def test_samples_of_every_class_validate(benchmark):
    settings = Settings(validation="samples", validation_fraction=0.4)
    data = split_benchmark(benchmark, settings)
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(range(30))
    np.testing.assert_array_equal(np.unique(data.validation.labels, return_counts=True)[1], [2] * 6)
    np.testing.assert_array_equal(np.unique(data.train.labels), range(6))


def test_the_test_samples_validate_in_their_gallery(benchmark):
    data = split_benchmark(benchmark, Settings(validation="test"))
    assert numbers(data.train) == list(range(30))
    assert data.validation is benchmark.test
    assert data.validation_gallery is benchmark.gallery


def test_a_single_class_cannot_validate(benchmark):
    with pytest.raises(ValueError, match="validation needs at least 2 classes; got 1"):
        split_benchmark(benchmark, Settings(num_folds=6))


def test_samples_that_the_data_set_gives_validate(benchmark):
    given = LabeledImages(np.zeros((4, 1, 1, 1), "float32"), np.array([30, 30, 4, 4]))
    benchmark = dataclasses.replace(benchmark, validation=given)
    data = split_benchmark(benchmark, Settings())
    assert numbers(data.train) == list(range(30))
    np.testing.assert_array_equal(np.unique(data.train.labels), range(6))
    assert data.validation is given
    assert data.validation_gallery is None
    for validation in ("classes", "samples", "test"):
        with pytest.raises(
            ValueError, match=f"must be auto; got '{validation}': leave the flag out"
        ):
            split_benchmark(benchmark, Settings(validation=validation))
    with pytest.raises(ValueError, match=r"there are no folds, .* got fold 2"):
        split_benchmark(benchmark, Settings(fold=2))


@pytest.mark.parametrize("validation", ["classes", "samples", "test"])
def test_only_labels_of_what_trains_are_replaced(benchmark, validation):
    settings = Settings(num_folds=3, validation=validation)
    clean = split_benchmark(benchmark, settings)
    noisy = split_benchmark(benchmark, dataclasses.replace(settings, label_noise=0.3))
    assert numbers(noisy.train) == numbers(clean.train)
    wrong = noisy.classes[noisy.train.labels] != clean.classes[clean.train.labels]
    assert wrong.sum() == noisy.num_replaced == round(0.3 * len(clean.train))
    assert clean.num_replaced == 0
    np.testing.assert_array_equal(noisy.true_labels, clean.true_labels)
    np.testing.assert_array_equal(noisy.validation.labels, clean.validation.labels)
    assert numbers(noisy.validation) == numbers(clean.validation)
    assert set(noisy.classes) <= set(clean.true_labels)


def test_noise_differs_from_seed_to_seed_and_not_from_method_to_method(benchmark):
    settings = Settings(num_folds=3, label_noise=0.5)
    plain, ccp, other = (
        split_benchmark(benchmark, dataclasses.replace(settings, **values)).train.labels
        for values in ({"method": ("plain",)}, {"method": ("ccp",)}, {"seed": 1})
    )
    np.testing.assert_array_equal(plain, ccp)
    assert (plain != other).any()


def test_a_class_that_loses_all_its_samples_is_not_trained():
    labels = np.arange(40) // 2
    images = np.arange(40, dtype="float32").reshape(-1, 1, 1, 1)
    part = LabeledImages(images, labels)
    settings = Settings(num_folds=2, label_noise=0.8)
    data = split_benchmark(Benchmark(train=part, test=part), settings)
    assert len(data.classes) < 10
    np.testing.assert_array_equal(np.unique(data.train.labels), range(len(data.classes)))
    # A class of a single sample repeats it, and a pool has one of each class.
    for images, labels in training_batches(data.train, 4, 4, 0).take(9).as_numpy_iterator():
        np.testing.assert_array_equal(np.unique(labels, return_counts=True)[1], [4] * 4)
        np.testing.assert_array_equal(data.train.labels[images.ravel().astype(int)], labels)
    for _, labels in class_pools(data.train, 3, 0)(0).as_numpy_iterator():
        np.testing.assert_array_equal(labels, np.tile(range(len(data.classes)), 3))
    with pytest.raises(ValueError, match="a batch of 10 classes cannot be drawn from"):
        training_batches(data.train, 10, 4, 0)


def test_only_images_in_files_are_augmented(tmp_path):
    with pytest.raises(
        ValueError, match="augmentation is for images in files; those of digits are"
    ):
        load_benchmark(Settings(random_erasing=0.5))
    write_classes(tmp_path, {f"class{number}": 2 for number in range(4)})
    folder = {"dataset": "folder", "data_dir": str(tmp_path), "image_size": 8}
    assert load_benchmark(Settings(**folder)).train.augmentation is None
    settings = Settings(**folder, color_jitter={"brightness": 0.2})
    assert load_benchmark(settings).train.augmentation is not None
    with pytest.raises(ValueError, match="color_jitter has no parameter 'gamma'; it takes bright"):
        Settings(color_jitter={"gamma": 0.5})


@pytest.fixture
def nested(tmp_path):
    """A CSV file of classes whose folders are in those of their super-classes."""
    rows = ["path,label,split"]
    for group, classes in {
        "birds": ["wren", "owl"],
        "cars": ["van", "bus", "taxi", "tram"],
    }.items():
        write_classes(tmp_path / group, dict.fromkeys(classes, 3))
        rows += [
            f"{path},{path.parent.name},{'test' if path.parent.name.startswith('t') else 'train'}"
            for path in sorted((tmp_path / group).glob("*/*"))
        ]
    (tmp_path / "images.csv").write_text("\n".join(rows))
    return str(tmp_path / "images.csv")


def test_super_classes_are_the_folders_above_those_of_the_classes(nested):
    settings = Settings(
        dataset="folder",
        data_dir=nested,
        image_size=8,
        validation="samples",
        sampler="hierarchical",
        sampler_params={"super_classes_per_batch": 1.0},
    )
    benchmark = load_benchmark(settings)
    data = split_benchmark(benchmark, settings)
    train, arguments = data.train, sampler_arguments(data, settings)
    assert arguments["super_classes_per_batch"] == 1
    for path, folder in zip(train.paths, arguments["super_classes"], strict=True):
        assert path.startswith(f"{folder}/")
        assert folder.endswith(("/birds", "/cars"))
    batches = training_batches(train, 2, 2, 0, sampler=settings.sampler, **arguments)
    names = np.array(["birds" if "/birds/" in path else "cars" for path in train.paths])
    group_of = {label: names[train.labels == label][0] for label in range(4)}
    for _, labels in batches.take(8).as_numpy_iterator():
        assert len({group_of[label] for label in labels}) == 1


def test_a_sample_with_a_wrong_label_is_of_the_super_class_of_that_label(nested):
    settings = Settings(
        dataset="folder",
        data_dir=nested,
        image_size=8,
        validation="samples",
        label_noise=0.5,
        sampler="hierarchical",
        sampler_params={"super_classes_per_batch": 1.0},
    )
    benchmark = load_benchmark(settings)
    data = split_benchmark(benchmark, settings)
    super_classes = sampler_arguments(data, settings)["super_classes"]
    assert data.num_replaced
    for label, super_class in zip(data.train.labels, super_classes, strict=True):
        name = benchmark.class_names[data.classes[label]]
        assert super_class.endswith("/birds" if name in ("wren", "owl") else "/cars")
    arguments = sampler_arguments(data, settings)
    batches = training_batches(data.train, 2, 2, 0, sampler=settings.sampler, **arguments)
    for _, labels in batches.take(8).as_numpy_iterator():
        assert len(np.unique(labels)) == 2


def test_data_without_super_classes_are_named(benchmark, tmp_path):
    settings = Settings(sampler="hierarchical", validation="samples")
    with pytest.raises(ValueError, match="needs super-classes, but digits has none"):
        sampler_arguments(split_benchmark(benchmark, settings), settings)
    write_classes(tmp_path, {f"class{number}": 2 for number in range(4)})
    settings = Settings(
        dataset="folder",
        data_dir=str(tmp_path),
        image_size=8,
        sampler="hierarchical",
        validation="test",
    )
    with pytest.raises(ValueError, match=f"the folders of all classes are in {tmp_path}: put"):
        sampler_arguments(split_benchmark(load_benchmark(settings), settings), settings)
    settings = Settings(sampler="proportional", validation="test")
    assert sampler_arguments(split_benchmark(benchmark, settings), settings) == {}
