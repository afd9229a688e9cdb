"""Experiments: what they train on, what validates, and what they leave."""

import keras
import numpy as np
import pytest

from ccp_dml.evaluation import clustering_metrics, retrieval_metrics
from ccp_dml.experiment import Run
from ccp_dml.experiment.flags import settings_from_flagfile
from ccp_dml.experiment.results import load_unfinished_results, results_table
from ccp_dml.experiment.settings import Settings
from ccp_dml.layers import LipschitzNormalization
from ccp_dml.models import load_backbone_weights, small_convnet
from tests.data.pictures import write_classes
from tests.experiment.small_run import history_of, make_run


def test_training_starts_from_the_weights():
    run = Run(
        Settings(
            dataset="glyphs",
            dataset_params={"train_letters": 20, "samples_per_letter": 4},
            weights="glyphs",
        )
    )
    assert (run.data.train.num_classes, run.data.validation.num_classes) == (15, 5)
    backbone = small_convnet((28, 28, 1))
    load_backbone_weights(backbone, "glyphs")
    started = run.make_embedding_model(8).backbone
    for one, other in zip(backbone.get_weights(), started.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def csv_of(folder):
    """A CSV file of the images that `write_classes` wrote, with queries and a gallery."""
    rows = ["path,label,split"]
    for place, name in enumerate(sorted(child.name for child in folder.iterdir())):
        for number, image in enumerate(sorted((folder / name).iterdir())):
            split = "train" if place % 2 == 0 else ("query", "gallery")[number % 2]
            rows.append(f"{image},{name},{split}")
    (folder / "list.csv").write_text("\n".join(rows))
    return folder / "list.csv"


# A test below trains on files without a cache.
@pytest.mark.parametrize("cache", [pytest.param("none", marks=pytest.mark.slow), "disk"])
def test_training_on_images_in_files(tmp_path, cache):
    write_classes(tmp_path / "data", {f"class{number}": 6 for number in range(16)})
    settings = Settings(
        dataset="folder",
        data_dir=str(csv_of(tmp_path / "data")),
        cache=cache,
        image_size=12,
        backbone="tests.experiment.small_run:tiny_backbone",
        scaling="symmetric",
        classes_per_batch=3,
        samples_per_class=2,
        num_folds=2,
        embedding_size=8,
        learning_rate=1e-3,
        max_steps=20,
        steps_per_validation=5,
        round_patience=1,
    )
    run = Run(settings)
    results = run.train(tmp_path / "results")
    assert results["ccp"]["steps"] == 20
    embedder = keras.models.load_model(tmp_path / "results" / "ccp" / "model.keras")
    before = np.load(tmp_path / "results" / "before" / "test_embeddings.npz")
    untrained = keras.Sequential([run.make_embedding_model(), LipschitzNormalization()])
    for part, name in [(run.benchmark.test, ""), (run.benchmark.gallery, "gallery_")]:
        expected = untrained.predict(part.evaluation_images(), verbose=0)
        np.testing.assert_allclose(before[f"{name}embeddings"], expected, atol=1e-6)
        np.testing.assert_array_equal(before[f"{name}labels"], part.labels)
    test_embeddings = np.load(tmp_path / "results" / "ccp" / "test_embeddings.npz")["embeddings"]
    test_paths = run.benchmark.test.paths
    np.testing.assert_allclose(embedder.embed(test_paths), test_embeddings, atol=1e-6)
    network = embedder.network
    (statistics,) = (
        layer.get_weights()
        for layer in network.layers[1].backbone.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    for values, initial in zip(statistics, (1, 0, 0, 1), strict=True):
        np.testing.assert_array_equal(values, initial)
    queries, gallery = (
        (network.predict(part.evaluation_images(), verbose=0), part.labels)
        for part in (run.benchmark.test, run.benchmark.gallery)
    )
    measured = retrieval_metrics(*queries, *gallery)["map_at_r"]
    assert measured == pytest.approx(results["ccp"]["map_at_r"], abs=1e-6)
    # Colours tell the classes apart, so that chance (1 of 8) is left far behind.
    assert results["ccp"]["precision_at_1"] > 0.5


def test_what_is_not_of_a_run_stays_where_it_is(tmp_path):
    (tmp_path / "important.txt").write_text("mine")
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "evaluation.json").write_text("{}")
    settings = Settings(validation="samples", classes_per_batch=5)
    load_unfinished_results(tmp_path, settings, "data")
    assert not (tmp_path / "evaluation.json").exists()
    assert (tmp_path / "important.txt").read_text() == "mine"
    assert settings_from_flagfile(tmp_path / "flags.txt") == settings
    assert not (tmp_path / "results.json").exists()


def embedded(network, part):
    return network.predict(part.evaluation_images(), verbose=0)


def test_the_test_classes_validate(tmp_path):
    run = make_run(validation="test")
    train, test = run.benchmark.train, run.benchmark.test
    assert len(run.data.train) == len(train)
    assert np.unique(run.data.train.labels).tolist() == [0, 1, 2, 3, 4]
    assert run.data.validation is test
    results = run.train(tmp_path)["plain"]
    network = keras.models.load_model(tmp_path / "plain" / "model.keras").network
    expected = retrieval_metrics(embedded(network, test), test.labels)["map_at_r"]
    assert results["validation_map_at_r"] == pytest.approx(expected, abs=1e-6)
    assert results["map_at_r"] == pytest.approx(expected, abs=1e-6)


def test_queries_validate_against_their_gallery(tmp_path):
    sizes = {f"class{number}": 6 for number in range(16)}
    write_classes(tmp_path / "data", sizes, contrast=0.02)
    run = make_run(
        dataset="folder",
        data_dir=str(csv_of(tmp_path / "data")),
        image_size=12,
        validation="test",
    )
    assert run.data.train.num_classes == 8
    assert len(run.data.train) == 48
    results = run.train(tmp_path / "results")["plain"]
    network = keras.models.load_model(tmp_path / "results" / "plain" / "model.keras").network
    queries, gallery = run.benchmark.test, run.benchmark.gallery
    query_embeddings = embedded(network, queries)
    expected = retrieval_metrics(
        query_embeddings, queries.labels, embedded(network, gallery), gallery.labels
    )
    among_themselves = retrieval_metrics(query_embeddings, queries.labels)
    assert abs(expected["r_precision"] - among_themselves["r_precision"]) > 1e-3
    assert results["validation_map_at_r"] == pytest.approx(expected["map_at_r"], abs=1e-6)
    best = history_of(tmp_path / "results" / "plain")[results["best_step"] // 5 - 1]
    for name in ("precision_at_1", "r_precision", "map_at_r"):
        assert float(best[f"val_{name}"]) == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("monitor", ["precision_at_1", "r_precision"])
def test_the_monitor_chooses_the_best_weights(monitor, tmp_path):
    run = make_run(monitor=monitor, max_steps=40)
    results = run.train(tmp_path)["plain"]
    assert [key for key in results if key.startswith("validation_")] == [f"validation_{monitor}"]
    values = [float(row[f"val_{monitor}"]) for row in history_of(tmp_path / "plain")]
    assert results[f"validation_{monitor}"] == pytest.approx(max(values))
    assert results["best_step"] == 5 * (1 + np.argmax(values))
    network = keras.models.load_model(tmp_path / "model.keras").network
    validation = run.data.validation
    measured = retrieval_metrics(embedded(network, validation), validation.labels)[monitor]
    assert measured == pytest.approx(max(values), abs=1e-6)


def test_results_hold_clustering_if_asked_for(tmp_path):
    run = make_run(clustering=True, max_steps=5, seed=3)
    results = run.train(tmp_path / "with")
    test = run.benchmark.test
    network = keras.models.load_model(tmp_path / "with" / "plain" / "model.keras").network
    expected = clustering_metrics(embedded(network, test), test.labels, seed=3)
    assert {key: results["plain"][key] for key in ("nmi", "ami", "pairwise_f1")} == pytest.approx(
        expected, abs=0.02
    )
    header, _, *_, before, plain = results_table(results, ("plain",)).splitlines()
    titles, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in (header, before, plain)
    )
    for cells in rows:
        shown = dict(zip(titles, cells, strict=True))
        row = results[shown["on unseen classes"]]
        assert shown["NMI"] == f"{row['nmi']:.4f}"
        assert shown["AMI"] == f"{row['ami']:.4f}"
        assert shown["F1"] == f"{row['pairwise_f1']:.4f}"
    without = make_run(max_steps=5).train(tmp_path / "without")
    assert not {"nmi", "ami", "pairwise_f1"} & {*without["before"], *without["plain"]}
    assert "NMI" not in results_table(without, ("plain",))


def test_a_run_that_does_not_leave_its_warm_up_has_no_rounds(tmp_path):
    results = make_run(method=("ccp",), warmup_steps=1000, max_steps=10).train(tmp_path)
    assert results["ccp"]["rounds"] == 0
    assert results["ccp"]["best_phase"] == "warm-up"
    rows = history_of(tmp_path / "ccp")
    assert [int(row["round"]) for row in rows] == [-1, -1]


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    """The results with balanced batches."""
    return make_run(max_steps=20).train(tmp_path_factory.mktemp("balanced"))


@pytest.mark.parametrize("sampler", ["proportional", "hard_classes"])
def test_samplers_by_name(tmp_path, sampler, balanced):
    run = make_run(
        sampler=sampler,
        sampler_params={"fraction": 0.4, "nearest": 2.0} if sampler == "hard_classes" else {},
        max_steps=20,
    )
    results = run.train(tmp_path)
    assert results["plain"]["steps"] == 20
    assert results["before"]["map_at_r"] == balanced["before"]["map_at_r"]
    assert results["plain"]["map_at_r"] != balanced["plain"]["map_at_r"]


@pytest.mark.parametrize(
    ("sampler", "params", "message"),
    [
        ("hierarchical", {}, "digits has none"),
        ("hard_classes", {"fraction": 1.5}, "fraction must be between 0 and 1; got 1.5"),
        ("hard_classes", {"center_samples": 0.5}, "center_samples must be a whole number"),
        ("balanced", {"fraction": 0.5}, "sampler balanced has no parameter 'fraction'"),
        ("semi_hard", {}, "sampler must be one of balanced, proportional, hierarchical"),
    ],
)
def test_wrong_samplers_are_named(sampler, params, message):
    with pytest.raises(ValueError, match=message):
        make_run(sampler=sampler, sampler_params=params)
