"""Experiments: what they train on, what validates, and what they leave."""

import csv
import dataclasses
import importlib.metadata
import itertools
import signal

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ccp_dml.callbacks import HistoryLog, RetrievalValidation, RoundSnapshots
from ccp_dml.evaluation import clustering_metrics, retrieval_metrics
from ccp_dml.experiment import Run, TrainingFailedError, train
from ccp_dml.experiment import run as run_module
from ccp_dml.experiment import training as training_module
from ccp_dml.experiment import workdir as workdir_module
from ccp_dml.experiment.flags import settings_from_flagfile
from ccp_dml.experiment.interruption import Interruption, RunInterruptedError
from ccp_dml.experiment.results import finished_results, load_unfinished_results, results_table
from ccp_dml.experiment.run_report import ReportFailedError
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.workdir import WorkdirInUseError, WorkdirLock, read_json, write_json
from ccp_dml.layers import LipschitzNormalization
from ccp_dml.models import load_backbone_weights, small_convnet
from tests.data.pictures import write_classes


def tiny_backbone(input_shape):
    """Normalises batches, as a backbone of one's own may do."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
        ]
    )


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


# Without a cache the tests below train on files.
@pytest.mark.parametrize("cache", [pytest.param("none", marks=pytest.mark.slow), "disk"])
def test_training_on_images_in_files(tmp_path, cache):
    write_classes(tmp_path / "data", {f"class{number}": 6 for number in range(16)})
    settings = Settings(
        dataset="folder",
        data_dir=str(csv_of(tmp_path / "data")),
        cache=cache,
        image_size=12,
        backbone=f"{__name__}:tiny_backbone",
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
    load_unfinished_results(tmp_path, settings)
    assert not (tmp_path / "evaluation.json").exists()
    assert (tmp_path / "important.txt").read_text() == "mine"
    assert settings_from_flagfile(tmp_path / "flags.txt") == settings
    assert not (tmp_path / "results.json").exists()


def make_run(**changes):
    """A run on the digits that is over soon."""
    small = {
        "backbone": f"{__name__}:tiny_backbone",
        "embedding_size": 8,
        "validation": "samples",
        "classes_per_batch": 5,
        "samples_per_class": 3,
        "learning_rate": 1e-2,
        "max_steps": 20,
        "steps_per_validation": 5,
        "proxies_per_class": 2,
        "pool_size": 3,
        "method": ("plain",),
    }
    return Run(Settings(**{**small, **changes}))


def history_of(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


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


def without_seconds(results):
    return {
        name: {key: value for key, value in entry.items() if key != "seconds"}
        if isinstance(entry, dict)
        else entry
        for name, entry in results.items()
    }


class StopAt:
    """Stands for a signal that comes at a place of a run."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def __call__(self, place, calls):
        """An interruption that receives SIGTERM when a function is called the nth time."""
        owner, name = place
        interruption = Interruption()
        whole, count = getattr(owner, name), itertools.count(1)

        def interrupted(*args, **kwargs):
            if next(count) == calls:
                interruption.signal_number = signal.SIGTERM
            return whole(*args, **kwargs)

        self.monkeypatch.setattr(owner, name, interrupted)
        return interruption


PLACES = {
    "baselines": ((run_module, "measure_baselines"), 1),
    "a step": ((HistoryLog, "on_train_batch_begin"), 8),
    "the last step of an epoch": ((HistoryLog, "on_train_batch_begin"), 5),
    "validation": ((RetrievalValidation, "measure"), 2),
    "the end of an epoch": ((HistoryLog, "on_epoch_end"), 3),
    "test samples": ((run_module, "embed_test"), 1),
    "the figure": ((RoundSnapshots, "on_train_batch_begin"), 7),
}
"""Where a run is interrupted, and in which of the calls."""

ROUNDS = {
    "method": ("plain", "ccp"),
    "max_steps": 20,
    "round_patience": 1,
    "plateau_patience": 1,
    "figure_rounds": 1,
}


def check_logs(folder, steps):
    """Each validation and each gallery is there once, at its step."""
    logs = folder / "tensorboard"
    for place, tag, expected in [
        (logs, "val_map_at_r", steps),
        (logs / "galleries", "retrieval/easy", steps[-1:]),
    ]:
        events = EventAccumulator(str(place), size_guidance={"tensors": 0})
        events.purge_orphaned_data = False
        assert [event.step for event in events.Reload().Tensors(tag)] == expected
    assert [int(row["step"]) for row in history_of(folder)] == steps


def test_a_run_that_is_interrupted_everywhere_ends_as_one_that_is_not(tmp_path):
    expected = make_run(**ROUNDS).train(tmp_path / "whole")
    assert expected["figure"]["rounds"] >= 1
    workdir = tmp_path / "interrupted"
    for place, calls in PLACES.values():
        with pytest.MonkeyPatch.context() as patches:
            interruption = StopAt(patches)(place, calls)
            with pytest.raises(RunInterruptedError, match="interrupted by SIGTERM"):
                # Once an hour: it resumes from what was saved because of the signal.
                make_run(**ROUNDS).train(workdir, 60, interruption)
    results = make_run(**ROUNDS).train(workdir, 60)
    assert without_seconds(results) == without_seconds(expected)
    for method in ROUNDS["method"]:
        check_logs(workdir / method, [5, 10, 15, 20])
        ours, theirs = (folder / method / "history.csv" for folder in (workdir, tmp_path / "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
        networks = [
            keras.models.load_model(folder / method / "model.keras")
            for folder in (workdir, tmp_path / "whole")
        ]
        for one, other in zip(*(each.get_weights() for each in networks), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not (workdir / "checkpoints").exists()


def test_methods_that_are_finished_are_not_trained_again(tmp_path, monkeypatch):
    settings = {"method": ("plain", "ccp"), "max_steps": 10}
    train_method = Run._train_method

    def fail_in_ccp(run, method, *arguments):
        if method == "ccp":
            raise TrainingFailedError("of ccp")
        return train_method(run, method, *arguments)

    monkeypatch.setattr(Run, "_train_method", fail_in_ccp)
    with pytest.raises(TrainingFailedError):
        make_run(**settings).train(tmp_path)
    first = read_json(tmp_path / "results.json")
    assert "plain" in first
    assert "ccp" not in first
    network = (tmp_path / "model.keras").read_bytes()
    assert network == (tmp_path / "plain" / "model.keras").read_bytes()

    trained = []

    def note(run, method, *arguments):
        trained.append(method)
        return train_method(run, method, *arguments)

    monkeypatch.setattr(Run, "_train_method", note)
    results = make_run(**settings).train(tmp_path)
    assert trained == ["ccp"]
    assert results["plain"] == first["plain"]
    assert read_json(tmp_path / "results.json") == results


@pytest.fixture
def small_settings():
    return make_run(max_steps=5).settings


def test_the_same_command_again_trains_nothing(tmp_path, capsys, monkeypatch, small_settings):
    results = train(small_settings, tmp_path)
    first = capsys.readouterr().out
    assert f"report    {tmp_path / 'report.html'}" in first
    assert f"gallery   {tmp_path / 'gallery.png'}" in first
    assert f"results   {tmp_path / 'results.json'}" in first
    assert f"network   {tmp_path / 'model.keras'} (plain, which validated best)" in first
    monkeypatch.setattr(training_module, "Run", None)
    monkeypatch.setattr(training_module, "write_report", None)
    again = train(small_settings, tmp_path)
    assert again == results
    output = capsys.readouterr().out
    assert output == f"the run in {tmp_path} is finished: there is nothing to train\n{first}"
    # Whatever is kept of the images, the numbers are the same.
    assert train(dataclasses.replace(small_settings, cache="memory"), tmp_path) == results
    assert not (tmp_path / "earlier").exists()


def test_a_finished_run_gets_the_report_that_it_lacks(tmp_path, capsys, small_settings):
    results = train(small_settings, tmp_path, report=False)
    assert not (tmp_path / "report.html").exists()
    assert "report" not in capsys.readouterr().out

    def stop(tables, output, benchmark):
        raise error

    for error in (RunInterruptedError(signal.SIGTERM), ReportFailedError("no room")):
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(training_module, "write_report", stop)
            with pytest.raises(type(error)):
                train(small_settings, tmp_path)
        assert finished_results(tmp_path, small_settings) == results
        # What was found is printed before the report is begun.
        assert "MAP@R" in capsys.readouterr().out
    assert train(small_settings, tmp_path) == results
    page = (tmp_path / "report.html").read_text()
    assert f"{results['plain']['map_at_r']:.4f}" in page
    assert (tmp_path / "gallery.png").read_bytes().startswith(b"\x89PNG")
    # Its images are from the data set, which was loaded again.
    assert page.count("<img") > 100


def test_results_with_other_settings_are_moved(tmp_path, capsys, small_settings):
    first = train(small_settings, tmp_path, report=False)
    for name in ("report.html", "gallery.png"):
        (tmp_path / name).write_text("of the first")
    capsys.readouterr()
    other = dataclasses.replace(small_settings, learning_rate=1e-3)
    results = train(other, tmp_path, report=False)
    (earlier,) = (tmp_path / "earlier").iterdir()
    output = capsys.readouterr().out
    assert (
        f"{tmp_path} contained results with other settings, which were moved to {earlier}" in output
    )
    assert read_json(earlier / "results.json") == first
    assert settings_from_flagfile(earlier / "flags.txt") == small_settings
    names = {path.name for path in earlier.iterdir()}
    assert {"model.keras", "plain", "before", "report.html", "gallery.png"} <= names
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "gallery.png").exists()
    assert results["plain"]["map_at_r"] != first["plain"]["map_at_r"]
    assert finished_results(tmp_path, other) == read_json(tmp_path / "results.json")
    assert finished_results(tmp_path, small_settings) is None


def test_results_of_the_other_backend_are_moved(tmp_path, capsys, monkeypatch, small_settings):
    first = train(small_settings, tmp_path, report=False)
    assert first["backend"] == keras.backend.backend() == "tensorflow"
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert finished_results(tmp_path, small_settings) is None
    unfinished = load_unfinished_results(tmp_path, small_settings)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (
        f"{tmp_path} contained results of the Keras backend tensorflow (this is jax), which were "
        f"moved to {earlier}"
    ) in capsys.readouterr().out
    assert read_json(earlier / "results.json") == first
    assert "plain" not in unfinished
    assert unfinished["versions"]["jax"] == importlib.metadata.version("jax")


def test_results_from_before_there_were_backends_are_tensorflows(tmp_path, small_settings):
    train(small_settings, tmp_path, report=False)
    results = read_json(tmp_path / "results.json")
    del results["backend"]
    write_json(tmp_path / "results.json", results)
    assert finished_results(tmp_path, small_settings) == results


def test_checkpoints_of_other_settings_are_moved(tmp_path, small_settings):
    with pytest.MonkeyPatch.context() as patches:
        interruption = StopAt(patches)(*PLACES["a step"][:1], 3)
        with pytest.raises(RunInterruptedError):
            Run(small_settings).train(tmp_path, 60, interruption)
    assert (tmp_path / "checkpoints" / "plain").exists()
    other = dataclasses.replace(small_settings, seed=1)
    results = Run(other).train(tmp_path)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (earlier / "checkpoints" / "plain").exists()
    assert without_seconds(results) == without_seconds(Run(other).train(tmp_path / "new"))


def test_a_folder_that_is_in_use(tmp_path, monkeypatch, small_settings):
    monkeypatch.setattr(workdir_module, "_SECONDS_TO_WAIT", 0.01)
    with WorkdirLock(tmp_path), pytest.raises(WorkdirInUseError, match="working in"):
        train(small_settings, tmp_path)


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
