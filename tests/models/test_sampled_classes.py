"""Steps that see the proxies of only some classes."""

import itertools

import keras
import numpy as np
import pytest

from ccp_dml import losses
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    ProxyModel,
    VariationalChanceConstrainedModel,
)
from ccp_dml.models.embedding import EmbeddingModel
from ccp_dml.optimizers import LazyAdam
from tests.cases import CASES, NEEDING_PROXIES, settings_of, slow_except, small_model
from tests.models.small_models import images_and_labels, linear_model

CLASSES = 40


def batches(generator, count=4, size=12, classes=CLASSES):
    inputs = generator.standard_normal((count, size, 5)).astype("float32")
    return list(zip(inputs, generator.integers(0, classes, (count, size)), strict=True))


def model_of(optimizer, sampled_classes, classes=CLASSES, loss="multi_similarity", **options):
    keras.utils.set_random_seed(1)
    kernel = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    model = ChanceConstrainedModel(
        linear_model(kernel),
        classes,
        2,
        sampled_classes=sampled_classes,
        **{"weight_decay": 0.01, "clip_norm": 0.5, **options},
    )
    model.compile(optimizer, loss=loss)
    return model


def fit(model, data):
    values = []
    for batch in data:
        # Otherwise Keras 3.12 returns the mean over all steps so far.
        model.reset_metrics()
        values.append(model.train_on_batch(*batch, return_dict=True)["loss"])
    return values


# Neither number leaves out a class: a step sees as many as it samples plus the batch's size, 12.
# Losses, optimizers and numbers do not depend on each other: quick tests need each of them once.
WHOLE_STEPS = [
    ("contrastive", keras.optimizers.SGD, CLASSES),
    ("contrastive", LazyAdam, CLASSES - 12),
    ("multi_similarity", LazyAdam, CLASSES),
    ("proxy_anchor", keras.optimizers.SGD, CLASSES - 12),
    ("proxy_anchor", LazyAdam, CLASSES),
]


@pytest.mark.parametrize(
    ("loss", "optimizer", "sampled_classes"),
    slow_except(
        WHOLE_STEPS,
        list(
            itertools.product(
                ["contrastive", "multi_similarity", "proxy_anchor"],
                [keras.optimizers.SGD, LazyAdam],
                [CLASSES, CLASSES - 12],
            )
        ),
    ),
)
def test_with_all_classes_it_is_the_whole_step(loss, optimizer, sampled_classes, generator):
    data = batches(generator)
    whole = model_of(
        keras.optimizers.Adam(0.01) if optimizer is LazyAdam else optimizer(0.01), 0, loss=loss
    )
    sampled = model_of(optimizer(0.01), sampled_classes, loss=loss)
    np.testing.assert_allclose(fit(sampled, data), fit(whole, data), rtol=1e-5)
    for ours, theirs in zip(sampled.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def changed_classes(model, batch):
    before = model.proxies.by_class()
    fit(model, [batch])
    return np.flatnonzero((model.proxies.by_class() != before).any(axis=(1, 2)))


def test_a_step_changes_the_proxies_it_looked_at_and_no_others(generator):
    model = model_of(LazyAdam(0.01), 8)
    drawn = []
    for batch in batches(generator):
        changed = changed_classes(model, batch)
        assert len(changed) == 8 + 12
        assert set(batch[1]) <= set(changed)
        drawn.append(tuple(changed))
    assert len(set(drawn)) == len(drawn)


def test_the_sampled_step_is_the_whole_one_of_a_model_of_these_classes(generator):
    """With SGD, and with counts of negatives, which the loss of C1 takes as they are."""
    (batch,) = batches(generator, count=1)
    loss = losses.get("cosine_contrastive", margin=-1.0)
    model = model_of(keras.optimizers.SGD(0.1), 8, loss=loss, clip_norm=None, weight_decay=0.0)
    proxies = model.proxies.vectors.numpy()
    value = model.train_on_batch(*batch, return_dict=True)["proxy_loss"]
    moved = model.proxies.vectors.numpy()
    rows = np.flatnonzero((moved != proxies).any(axis=1))
    labels = rows % CLASSES
    own = np.unique(batch[1])
    counts = np.where(np.isin(labels, own), 1.0, (CLASSES - len(own)) / (20 - len(own)))
    embeddings = batch[0] @ np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    expected = loss(
        batch[1],
        embeddings,
        references=proxies[rows],
        reference_labels=labels,
        negative_counts=counts,
    )
    assert value == pytest.approx(float(expected), rel=1e-5)


def test_the_mean_loss_over_many_steps_is_the_whole_loss(generator):
    (batch,) = batches(generator, count=1)
    whole = model_of(keras.optimizers.SGD(0.0), 0, loss="cosine_contrastive")
    sampled = model_of(keras.optimizers.SGD(0.0), 8, loss="cosine_contrastive")
    values = fit(sampled, [batch] * 400)
    error = np.std(values) / np.sqrt(len(values))
    (expected,) = fit(whole, [batch])
    assert error < 0.01 * expected
    assert abs(np.mean(values) - expected) < 4 * error


def test_the_step_and_the_seed_decide_which_classes_are_drawn(generator):
    (batch,) = batches(generator, count=1)

    def drawn(seed, *steps):
        model = model_of(keras.optimizers.SGD(0.01), 4, sampling_seed=seed)
        for step in steps:
            model.optimizer.iterations.assign(step)
            yield tuple(changed_classes(model, batch))

    seventh, eighth = drawn(0, 7, 8)
    (again,) = drawn(0, 7)
    (of_another_seed,) = drawn(1, 7)
    assert again == seventh
    assert len({seventh, eighth, of_another_seed}) == 3


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 2}])
def test_xla_and_several_steps_at_a_time_do_the_same(options, generator):
    data = batches(generator)
    plain, other = model_of(LazyAdam(0.01), 8), model_of(LazyAdam(0.01), 8)
    other.compile(other.optimizer, loss="multi_similarity", **options)
    inputs, labels = (np.concatenate(parts) for parts in zip(*data, strict=True))
    for model in (plain, other):
        model.fit(inputs, labels, batch_size=12, shuffle=False, verbose=0)
    for ours, theirs in zip(other.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


# Gradients are added up in the same way for all optimizers.
@pytest.mark.parametrize(
    "optimizer", [pytest.param(keras.optimizers.SGD, marks=pytest.mark.slow), LazyAdam]
)
def test_two_replicas_take_the_steps_of_one(optimizer, two_replicas, generator):
    inputs, labels = (np.concatenate(parts) for parts in zip(*batches(generator), strict=True))
    alone = model_of(optimizer(0.01), 8)
    with two_replicas.scope():
        shared = model_of(optimizer(0.01), 8)
    for model in (alone, shared):
        model.fit(inputs, labels, batch_size=12, shuffle=False, verbose=0)
    for ours, theirs in zip(shared.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    copies = two_replicas.experimental_local_results(shared.proxies.vectors.value)
    np.testing.assert_array_equal(*(copy.numpy() for copy in copies))


def test_multipliers_scale_the_steps_of_rows(generator):
    (batch,) = batches(generator, count=1)
    moved = []
    for multipliers in ({}, {"proxies": 10.0}):
        model = model_of(LazyAdam(1e-4), 8, learning_rate_multipliers=multipliers)
        before = model.proxies.vectors.numpy()
        fit(model, [batch])
        moved.append(model.proxies.vectors.numpy() - before)
    assert np.abs(moved[0]).max() > 5e-5
    np.testing.assert_allclose(moved[1], 10 * moved[0], rtol=0.02, atol=1e-6)


# Losses that learn, need proxies, add classes or draw. Miners choose among drawn classes just as
# among all.
WITH_SAMPLED_CLASSES = (
    "margin",
    "soft_triple",
    "multi_level_distance",
    "proxy_synthesis",
    "virtual_softmax",
    "semi_hard",
    "distance_weighted",
)


def every_case():
    for case in sorted(CASES):
        for method in ("ccp", "ccp+xbm", "ccp+dvml"):
            # A loss that needs proxies has no meaning against a memory.
            if not (case in NEEDING_PROXIES and method == "ccp+xbm"):
                is_quick = method == "ccp" and case in WITH_SAMPLED_CLASSES
                yield pytest.param(case, method, marks=[] if is_quick else pytest.mark.slow)


@pytest.mark.parametrize(("case", "method"), every_case())
def test_losses_work_with_methods(case, method):
    settings = settings_of(case, sampled_classes=2)
    # Batches of 15 samples draw 17 of the 30 classes.
    model = small_model(method, settings, num_classes=30)
    images, labels = images_and_labels(30)
    before = model.get_weights()
    history = model.fit(images, labels, batch_size=15, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert any((new != old).any() for new, old in zip(model.get_weights(), before, strict=True))


def test_evaluation_is_against_all_proxies(generator):
    (batch,) = batches(generator, count=1)
    loss = losses.get("soft_triple", proxies_per_class=2)
    whole, sampled = (model_of(keras.optimizers.SGD(0.1), count, loss=loss) for count in (0, 4))
    assert sampled.evaluate(*batch, verbose=0) == whole.evaluate(*batch, verbose=0)


def test_it_is_saved_and_loaded(tmp_path, generator):
    data = batches(generator)
    model = model_of(LazyAdam(0.01), 8, sampling_seed=3)
    fit(model, data)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.sampled_classes, loaded.sampling_seed) == (8, 3)
    np.testing.assert_allclose(fit(loaded, data), fit(model, data), rtol=1e-6)


@pytest.mark.both_backends(slow=True)
def test_both_terms_of_a_variational_model_see_the_same_classes(generator):
    model = VariationalChanceConstrainedModel(
        EmbeddingModel(linear_backbone(), 3),
        num_classes=CLASSES,
        proxies_per_class=2,
        num_samples=4,
        sampled_classes=8,
        memory=CrossBatchMemory(2, 12, start_step=0),
    )
    # None of its terms is exactly zero, unlike those beyond a margin.
    model.compile(LazyAdam(0.01), loss="multi_similarity")
    images, labels = images_and_labels(12)
    assert len(changed_classes(model, (images, labels))) == 20


def linear_backbone():
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))


def test_wrong_arguments_are_named():
    embedding_model = linear_model(np.ones((5, 3), "float32"))
    with pytest.raises(
        ValueError, match="sampled_classes must be a whole number of at least 0; got -1"
    ):
        ProxyModel(embedding_model, 5, sampled_classes=-1)
    with pytest.raises(ValueError, match=r"requires ccp_dml.optimizers.LazyAdam .*; got Adam"):
        model_of("adam", 8)
    model_of("adam", CLASSES)
    with pytest.raises(ValueError, match=r"are frozen: use sampled_classes=0, .*; got 8"):
        model_of(LazyAdam(), 8, learning_rate_multipliers={"proxies": 0})
