"""Networks trained earlier: alone, on average, and concatenated."""

import json
import zipfile

import keras
import numpy as np
import pytest

from ccp_dml.data import Benchmark, LabeledImages, index_folder, load
from ccp_dml.evaluation import retrieval_metrics
from ccp_dml.experiment.evaluation import load_networks, measure_networks, metric_rows
from ccp_dml.experiment.settings import Settings
from ccp_dml.inference import ImageEmbedder
from ccp_dml.models import EmbeddingModel, MetricLearningModel, small_convnet
from tests.data.pictures import encoded


def network(seed, shape=(8, 8, 1), size=4):
    """Embeddings of length 3 + seed, so that parts that are not normalised would show."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(size, use_bias=False),
            keras.layers.UnitNormalization(),
            keras.layers.Rescaling(3.0 + seed),
        ]
    )


@pytest.fixture
def saved(tmp_path):
    networks = [network(seed) for seed in (1, 2, 3)]
    paths = [str(tmp_path / f"{number}.keras") for number in range(len(networks))]
    for each, path in zip(networks, paths, strict=True):
        each.save(path)
    return networks, paths


def unit(vectors):
    vectors = np.asarray(vectors, "float64")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_mean_and_concatenation(saved):
    networks, paths = saved
    digits = load("digits")
    measured = metric_rows(
        measure_networks(load_networks(paths), digits, Settings(clustering=True))
    )
    parts = [unit(each.predict(digits.test.images, verbose=0)) for each in networks]
    alone = [retrieval_metrics(part.astype("float32"), digits.test.labels) for part in parts]
    for path, metrics in zip(paths, alone, strict=True):
        for name, value in metrics.items():
            assert measured[path][name] == pytest.approx(value, abs=2e-4)
    for name in ("map_at_r", "precision_at_1"):
        mean = np.mean([measured[path][name] for path in paths])
        assert measured["mean"][name] == pytest.approx(mean, abs=1e-9)
    together = retrieval_metrics(
        unit(np.concatenate(parts, axis=1)).astype("float32"), digits.test.labels
    )
    for name, value in together.items():
        assert measured["concatenated"][name] == pytest.approx(value, abs=2e-4)
    assert 0 < measured["concatenated"]["nmi"] < 1
    assert set(measured) == {*paths, "mean", "concatenated"}


def test_queries_are_searched_in_the_gallery(saved):
    networks, paths = saved
    digits = load("digits").test
    queries, gallery = digits.subset(np.arange(0, 200)), digits.subset(np.arange(200, 800))
    benchmark = Benchmark(train=digits, test=queries, gallery=gallery)
    measured = metric_rows(measure_networks(load_networks(paths[:1]), benchmark, Settings()))
    query_embeddings, gallery_embeddings = (
        unit(networks[0].predict(part.images, verbose=0)).astype("float32")
        for part in (queries, gallery)
    )
    expected = retrieval_metrics(
        query_embeddings, queries.labels, gallery_embeddings, gallery.labels
    )
    assert list(measured) == paths[:1]
    for name, value in expected.items():
        assert measured[paths[0]][name] == pytest.approx(value, abs=2e-3)


@pytest.fixture
def command(capsys, run_command):
    """Runs the command in this process and returns the lines it prints."""

    def run_here(*arguments):
        run_command("--mode=evaluate", *arguments)
        return capsys.readouterr().out.strip().splitlines()

    return run_here


def test_the_command_prints_a_table_and_leaves_the_numbers(saved, command, tmp_path):
    _, paths = saved
    workdir = tmp_path / "results"
    lines = command(f"--networks={','.join(paths)}", f"--workdir={workdir}")
    numbers = json.loads((workdir / "evaluation.json").read_text())
    *table, _, where = lines
    assert [line.split("|")[1].strip() for line in table[-5:]] == [*paths, "mean", "concatenated"]
    assert where == f"the results are in {workdir}: evaluation.json, class_metrics.csv"
    cells = [cell.strip() for cell in table[-1].split("|")]
    assert float(cells[2]) == round(numbers["concatenated"]["precision_at_1"], 4)


def test_unmeasurable_networks_are_reported_in_one_line(command, capsys, tmp_path):
    colours = str(tmp_path / "colours.keras")
    network(0, shape=(8, 8, 3)).save(colours)
    (tmp_path / "notes.keras").write_text("notes")
    empty = tmp_path / "empty.keras"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("nothing", "")
    cases = {
        "": "--networks is missing",
        "--networks=/nowhere/model.keras": "the network /nowhere/model.keras does not exist",
        f"--networks={colours}": (
            "is for images of shape (8, 8, 3); those of the data set have (8, 8, 1)"
        ),
        f"--networks={tmp_path / 'notes.keras'}": "notes.keras is not a network saved by Keras",
        f"--networks={empty}": "empty.keras is not a network saved by Keras",
        f"--networks={colours},{colours}": "each network must be given once",
    }
    for argument, message in cases.items():
        with pytest.raises(SystemExit) as stopped:
            command(*filter(None, [argument]))
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_network_for_images_of_any_size(tmp_path):
    inputs = keras.Input((None, None, 1))
    outputs = keras.layers.GlobalAveragePooling2D()(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "any.keras")
    images = np.random.default_rng(0).random((6, 5, 5, 1), "float32")
    data = LabeledImages(images, np.arange(6) % 2)
    networks = load_networks([str(tmp_path / "any.keras")])
    measured = metric_rows(measure_networks(networks, Benchmark(data, data), Settings()))
    assert 0 <= measured[str(tmp_path / "any.keras")]["map_at_r"] <= 1


def test_a_model_that_was_saved_while_it_trained(tmp_path):
    model = MetricLearningModel(EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=4))
    model.compile("adam", loss="contrastive")
    path = str(tmp_path / "model.keras")
    model.save(path)
    digits = load("digits")
    embeddings = model.predict(digits.test.images, verbose=0)
    expected = retrieval_metrics(embeddings, digits.test.labels)["map_at_r"]
    measured = metric_rows(measure_networks(load_networks([path]), digits, Settings()))
    assert measured[path]["map_at_r"] == pytest.approx(expected, abs=1e-3)


def write_files(folder):
    """Classes of noise in different shades; each preprocessing sees different pixels of them."""
    generator = np.random.default_rng(0)
    for label in range(8):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(5):
            pixels = generator.integers(0, 256, (24, 31, 3)) // 2 + 4 * label
            contents = encoded(pixels.astype("uint8"), "PNG")
            (folder / f"class{label}" / f"{number}.png").write_bytes(contents)


def expected_metrics(embedder, data_dir):
    """The metrics of the files, computed without the input pipeline."""
    index = index_folder(str(data_dir))
    test = index.splits == "test"
    embeddings = embedder.embed(index.paths[test])
    return retrieval_metrics(embeddings, index.labels[test])


@pytest.fixture
def embedders(tmp_path):
    write_files(tmp_path / "data")
    made = {
        str(tmp_path / "bgr.keras"): ImageEmbedder(network(1, (12, 12, 3)), "bgr", 14),
        str(tmp_path / "unit.keras"): ImageEmbedder(network(2, (9, 9, 3)), "unit"),
        str(tmp_path / "same.keras"): ImageEmbedder(network(3, (12, 12, 3)), "bgr", 14),
        str(tmp_path / "grey.keras"): ImageEmbedder(network(4, (12, 12, 1)), "unit", fit="pad"),
    }
    for path, embedder in made.items():
        embedder.save(path)
    return made, [f"--data_dir={tmp_path / 'data'}", "--dataset=folder"]


def test_networks_know_how_files_are_prepared(embedders, command, tmp_path):
    made, data = embedders
    workdir = tmp_path / "results"
    command(*data, f"--networks={','.join(made)}", f"--workdir={workdir}", "--cache=memory")
    numbers = json.loads((workdir / "evaluation.json").read_text())
    assert list(numbers) == [*made, "mean", "concatenated"]
    for path, embedder in made.items():
        for name, value in expected_metrics(embedder, tmp_path / "data").items():
            assert numbers[path][name] == pytest.approx(value, abs=1e-6)


def test_flags_may_say_what_the_network_knows(embedders, command, tmp_path):
    made, data = embedders
    path, embedder = next(iter(made.items()))
    flags = ["--image_size=12", "--resize_size=14", "--backbone=bn_inception"]
    command(*data, f"--networks={path}", f"--workdir={tmp_path / 'results'}", *flags)
    numbers = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    expected = expected_metrics(embedder, tmp_path / "data")
    assert numbers[path]["map_at_r"] == pytest.approx(expected["map_at_r"], abs=1e-6)
    # A resize_size below the default image_size does not matter.
    command(*data, f"--networks={path}", "--resize_size=14", "--scaling=bgr")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--scaling=unit", "scaling is unit, but {} was trained with bgr"),
        ("--image_size=16", "image_size is 16, but {} was trained with 12"),
        ("--resize_size=12", "resize_size is 12, but {} was trained with 14"),
        ("--background=black", "background is black, but {} was trained with white"),
        ("--background=#ffffff", None),
        ("--fit=pad", "fit is pad, but {} was trained with crop"),
        ("--backbone=resnet50", None),
        ("--backbone=small_convnet", "small_convnet is unit, but {} was trained with bgr"),
        ("--backbone=small_convnet --scaling=bgr", None),
    ],
)
def test_flags_that_contradict_the_network(embedders, command, capsys, flag, message):
    made, data = embedders
    path = next(iter(made))
    arguments = [*data, f"--networks={path}", *flag.split()]
    if message is None:
        assert path in command(*arguments)[-1]
        return
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    assert stopped.value.code == 2
    assert message.format(path) in capsys.readouterr().err.strip().splitlines()[-1]


def test_networks_saved_before_take_the_settings(embedders, command, caplog, tmp_path):
    made, data = embedders
    path, embedder = next(iter(made.items()))
    embedder.network.save(tmp_path / "old.keras")
    networks = f"--networks={tmp_path / 'old.keras'},{path}"
    flags = ["--image_size=12", "--resize_size=14", "--scaling=bgr"]
    with caplog.at_level("WARNING", logger="absl"):
        command(*data, networks, f"--workdir={tmp_path / 'results'}", *flags)
    (message,) = (each for each in caplog.messages if "preprocessing" in each)
    assert "old.keras was saved without its preprocessing" in message
    numbers = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    assert numbers[str(tmp_path / "old.keras")] == numbers[path]


def test_images_in_memory_have_values_in_0_to_1(command, capsys, tmp_path):
    path = str(tmp_path / "raw.keras")
    ImageEmbedder(network(1), "raw", 8).save(path)
    with pytest.raises(SystemExit):
        command(f"--networks={path}")
    message = "raw.keras does not fit the data: scaling of images in memory must be 'unit'"
    assert message in capsys.readouterr().err
