"""What losses learn besides the embeddings, and the random numbers they draw, in training."""

import keras
import numpy as np
import pytest

from ccp_dml import losses, miners
from ccp_dml.losses.multi_level_distance import LEVELS
from ccp_dml.models import MetricLearningModel, ProxyModel
from tests import naive
from tests.models.small_models import images_and_labels, linear_model

pytestmark = pytest.mark.both_backends(slow=True)


def margin_model(num_classes=3, loss="margin", optimizer=None, **arguments):
    kernel = np.random.default_rng(5).standard_normal((4, 3)).astype("float32")
    model = MetricLearningModel(linear_model(kernel), num_classes=num_classes, **arguments)
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss=loss)
    return model


def boundaries_of(model):
    (boundaries,) = model.loss_weights.weights
    return boundaries.numpy()


@pytest.fixture
def batch(generator):
    return generator.standard_normal((9, 4)).astype("float32"), np.arange(9) % 3


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_boundaries_take_the_step_of_finite_differences(weight_decay, batch):
    inputs, labels = batch
    loss = losses.get("margin", beta=0.9, nu=0.1)
    model = margin_model(loss=loss, weight_decay=weight_decay, clip_norm=None, clip_value=None)
    np.testing.assert_array_equal(boundaries_of(model), np.full(3, 0.9, "float32"))
    # All different, so that taking the boundary of another class would show.
    start = np.array([0.7, 0.9, 1.2])
    model.loss_weights.weights[0].assign(start)
    embeddings = inputs.astype("float64") @ model.embedding_model.get_weights()[0]

    def naive_loss(boundaries):
        pairs = naive.pairs(labels, embeddings)
        return naive.margin(pairs, beta=boundaries[labels], nu=0.1)

    numeric = [
        (naive_loss(start + step) - naive_loss(start - step)) / 2e-6 for step in 1e-6 * np.eye(3)
    ]
    assert len(set(np.round(numeric, 4))) == 3
    history = model.fit(inputs, labels, batch_size=9, verbose=0).history
    assert history["loss"][0] == pytest.approx(naive_loss(start), rel=1e-5)
    np.testing.assert_allclose(boundaries_of(model), start - 0.1 * np.array(numeric), atol=1e-5)


def test_without_the_number_of_classes_nothing_is_learnt(batch):
    model = margin_model(num_classes=None)
    assert not model.loss_weights.weights
    embeddings = model.predict(batch[0], verbose=0)
    history = model.fit(*batch, batch_size=9, verbose=0).history
    expected = naive.loss("margin", batch[1], embeddings)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)
    # Nor is anything learnt for a loss that has nothing to learn.
    assert not margin_model(loss="triplet").loss_weights.weights


def test_levels_and_boundaries_are_learnt_together(batch):
    loss = losses.get("multi_level_distance", loss="margin", weight=0.5)
    model = margin_model(loss=loss)
    weights = {weight.name: weight for weight in model.loss_weights.weights}
    assert weights["levels"].numpy().tolist() == list(LEVELS)
    assert weights["boundaries"].shape == (3,)
    model.fit(*batch, batch_size=9, verbose=0)
    assert (weights["levels"].numpy() != LEVELS).any()
    assert (weights["boundaries"].numpy() != np.float32(1.2)).any()


def test_they_are_saved_with_the_model(batch, tmp_path):
    model = margin_model(optimizer=keras.optimizers.Adam(0.1))
    model.fit(*batch, batch_size=9, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(boundaries_of(loaded), boundaries_of(model))
    for each in (model, loaded):
        each.fit(*batch, batch_size=9, shuffle=False, verbose=0)
    np.testing.assert_array_equal(boundaries_of(loaded), boundaries_of(model))


def test_a_model_without_its_loss_embeds_and_can_have_another(batch, tmp_path):
    inputs, labels = batch
    model = margin_model()
    model.fit(inputs, labels, batch_size=9, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(
        loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0)
    )
    loaded.compile("sgd", loss="multi_level_distance")
    assert [weight.name for weight in loaded.loss_weights.weights] == ["levels"]
    loaded.fit(inputs, labels, verbose=0)


def test_weights_files_hold_them(batch, tmp_path):
    model = margin_model()
    model.fit(*batch, batch_size=9, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    other = margin_model()
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(boundaries_of(other), boundaries_of(model))


def test_compiling_again_keeps_them(batch):
    model = margin_model()
    model.fit(*batch, batch_size=9, verbose=0)
    learned = boundaries_of(model)
    assert (learned != np.float32(1.2)).any()
    model.compile(keras.optimizers.Adam(0.1), loss=losses.get("margin", alpha=0.1))
    np.testing.assert_array_equal(boundaries_of(model), learned)
    model.fit(*batch, batch_size=9, verbose=0)
    assert (boundaries_of(model) != learned).any()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("triplet", r"has the weights boundaries of another loss.*whose weights are none"),
        ("multi_level_distance", r"the weights boundaries of another loss.*weights are levels"),
    ],
)
def test_the_weights_of_another_loss_are_named(loss, message):
    with pytest.raises(ValueError, match=message):
        margin_model().compile("sgd", loss=loss)


def test_evaluation_is_of_any_classes(batch):
    inputs, labels = batch
    model = margin_model()
    model.fit(inputs, labels, batch_size=9, verbose=0)
    embeddings = model.predict(inputs, verbose=0)
    for shift in (0, 100):
        evaluated = model.evaluate(inputs, labels + shift, batch_size=9, verbose=0)
        assert evaluated == pytest.approx(naive.loss("margin", labels, embeddings), rel=1e-4)


@pytest.mark.parametrize("part", ["boundaries", "loss_weights"])
def test_they_can_have_a_learning_rate(part, batch):
    start = np.float32(1.2)
    steps = []
    for multipliers in (None, {part: 10}):
        model = margin_model(
            learning_rate_multipliers=multipliers, optimizer=keras.optimizers.SGD(0.01)
        )
        model.fit(*batch, batch_size=9, verbose=0)
        steps.append((boundaries_of(model) - start, model.embedding_model.get_weights()[0]))
    assert np.abs(steps[0][0]).max() > 1e-4
    np.testing.assert_allclose(steps[1][0], 10 * steps[0][0], rtol=1e-2)
    np.testing.assert_allclose(steps[1][1], steps[0][1], atol=1e-7)


@pytest.mark.parametrize(
    "loss",
    [
        losses.Mined(losses.get("margin"), miners.DistanceWeightedMiner()),
        losses.get("proxy_synthesis"),
    ],
    ids=["distance_weighted", "proxy_synthesis"],
)
def test_a_step_draws_its_own_numbers(loss):
    images, labels = images_and_labels()
    keras.utils.set_random_seed(0)
    embedding_model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(6)]
    )
    model = ProxyModel(embedding_model, num_classes=5, batch_loss_weight=1.0)
    # Nothing moves, so that only the numbers drawn can differ.
    model.compile(keras.optimizers.SGD(0.0), loss=loss)

    def losses_of(steps):
        step_losses = []
        for step in steps:
            model.optimizer.iterations.assign(step)
            history = model.fit(images, labels, batch_size=40, shuffle=False, verbose=0).history
            step_losses.append((history["proxy_loss"][0], history["batch_loss"][0]))
        return step_losses

    first, second, again = losses_of([0, 1, 0])
    assert first == again
    assert first[0] != second[0]
    assert first[1] != second[1]
