"""Strategies and precisions of runs, in one process; see also `test_devices.py`."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import distribution
from ccp_dml.data import load
from ccp_dml.evaluation import retrieval_metrics
from ccp_dml.experiment import Settings, hardware, train
from ccp_dml.experiment.hardware import (
    WorkerLostError,
    describe_hardware,
    record_hardware,
    use_hardware,
    writable_folder,
)
from ccp_dml.inference.export import export

SMALL = {
    "embedding_size": 8,
    "validation": "samples",
    "classes_per_batch": 5,
    "samples_per_class": 3,
    "learning_rate": 1e-3,
    "max_steps": 20,
    "steps_per_validation": 10,
    "proxies_per_class": 2,
    "pool_size": 3,
}


@pytest.fixture
def two(two_replicas, monkeypatch):
    """Makes every strategy that of two logical CPUs."""
    monkeypatch.setattr(distribution, "strategy", lambda name, model_devices: two_replicas)


def test_the_hardware_in_a_line_and_in_the_results(two_replicas):
    settings = Settings(strategy="mirrored", precision="mixed_bfloat16")
    with two_replicas.scope():
        line = describe_hardware(settings)
        record = record_hardware(settings)
    assert line == (
        "backend tensorflow, strategy mirrored: 2 replicas on CPU:0, CPU:1; "
        "precision mixed_bfloat16"
    )
    assert record == {
        "backend": "tensorflow",
        "strategy": "mirrored",
        "replicas": 2,
        "precision": "mixed_bfloat16",
    }
    line = describe_hardware(Settings())
    assert line == "backend tensorflow, strategy none: 1 replica on CPU:0; precision float32"
    assert record_hardware(Settings())["replicas"] == 1


def test_a_batch_is_shared_by_all_replicas(two):
    settings = Settings(strategy="mirrored", classes_per_batch=1, samples_per_class=1)
    message = "= 1 samples cannot be divided among 2 replicas"
    with pytest.raises(ValueError, match=message), use_hardware(settings):
        pass


def test_everything_inside_is_in_the_scope(two, two_replicas):
    with use_hardware(Settings(strategy="mirrored")) as strategy:
        assert strategy is two_replicas
        assert tf.distribute.get_strategy() is two_replicas
    assert not tf.distribute.has_strategy()


LOST = (
    "Graph execution error:\n\nDetected at node x\n\nCollective ops is aborted by: Error reported "
    "from /job:worker/task:1: The following tasks are unhealthy (stopped sending heartbeats):\n"
    "/job:worker/replica:0/task:1\nThe tasks have crashed."
)


def test_a_lost_worker_is_one_line(two, monkeypatch):
    monkeypatch.setattr(hardware.distribution, "num_workers", lambda strategy=None: 2)
    monkeypatch.setattr(hardware, "describe_hardware", lambda settings: "")
    monkeypatch.setattr(hardware, "_check_same_settings", lambda settings: None)
    settings = Settings(strategy="mirrored")
    with pytest.raises(WorkerLostError) as found, use_hardware(settings):
        raise tf.errors.UnavailableError(None, None, LOST)
    assert str(found.value) == (
        "another worker has ended or cannot be reached: Error reported from /job:worker/task:1: "
        "The following tasks are unhealthy (stopped sending heartbeats)"
    )
    # Errors that have nothing to do with workers are left as they are.
    with pytest.raises(tf.errors.UnavailableError), use_hardware(settings):
        raise tf.errors.UnavailableError(None, None, "gs://bucket does not answer")


def test_an_error_of_a_single_worker_stays_what_it_is():
    with pytest.raises(tf.errors.UnavailableError), use_hardware(Settings()):
        raise tf.errors.UnavailableError(None, None, LOST)


def test_only_the_chief_writes_to_the_work_folder(tmp_path, monkeypatch):
    with writable_folder(tmp_path) as folder:
        assert folder == tmp_path
    monkeypatch.setattr(distribution, "is_chief", lambda: False)
    with writable_folder(tmp_path) as folder:
        (folder / "results.json").write_text("{}")
    assert not folder.exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["ccp", pytest.param("plain", marks=pytest.mark.slow)])
def test_a_network_that_was_trained_in_bfloat16_is_used_in_float32(method, tmp_path, monkeypatch):
    computed_in = set()
    fit = keras.Model.fit

    def note(model, *arguments, **options):
        network = model.embedding_model
        computed_in.add((network.backbone.layers[-1].compute_dtype, network.compute_dtype))
        return fit(model, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", note)
    settings = Settings(
        **SMALL, method=(method,), precision="mixed_bfloat16", steps_per_execution=5
    )
    train(settings, tmp_path, report=False)
    assert computed_in == {("bfloat16", "bfloat16")}
    assert keras.config.dtype_policy().name == "float32"
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["precision"] == "mixed_bfloat16"

    embedder = keras.models.load_model(tmp_path / "model.keras")
    layers = embedder.network._flatten_layers()
    assert {layer.compute_dtype for layer in layers} == {"float32"}
    test = load("digits").test
    embeddings = embedder.network.predict(test.images, verbose=0)
    assert embeddings.dtype == np.float32
    measured = retrieval_metrics(embeddings, test.labels)["map_at_r"]
    assert measured == pytest.approx(results[method]["map_at_r"], abs=1e-6)
    # It has learned, and validation in bfloat16 saw what is saved.
    assert results[method]["map_at_r"] > results["before"]["map_at_r"]
    exported = export([embedder], str(tmp_path / "exported"), "saved_model", [])
    assert exported.largest_difference < 1e-4


def test_runs_of_a_process_do_not_change_each_other(tmp_path):
    settings = {**SMALL, "method": ("plain",), "max_steps": 10}
    runs = [
        train(Settings(**settings, precision=precision), tmp_path / name, report=False)
        for name, precision in [("a", "float32"), ("b", "mixed_bfloat16"), ("c", "float32")]
    ]
    first, mixed, again = (run["plain"]["map_at_r"] for run in runs)
    assert first == again != mixed
    assert runs[0]["before"]["map_at_r"] == runs[1]["before"]["map_at_r"]
