import keras
import numpy as np
import pytest
from keras import ops

from ccp_dml import backend, retrieval_metrics
from ccp_dml.callbacks import VariationalPhases
from ccp_dml.data import load
from ccp_dml.models import EmbeddingModel, VariationalModel, small_convnet
from ccp_dml.models.variational import divergence, synthesize
from tests import naive
from tests.automatic_gradients import value_and_gradients
from tests.models.small_models import images_and_labels

pytestmark = pytest.mark.both_backends(slow=True)


def variational_model(loss="triplet", optimizer=None, jit_compile=False, **arguments):
    keras.utils.set_random_seed(0)
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    model = VariationalModel(embedding_model, **{"num_samples": 3, "hidden_units": 16, **arguments})
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss=loss, jit_compile=jit_compile)
    return model


def test_the_divergence_is_that_of_the_densities(generator):
    mean, log_variance = generator.standard_normal((2, 4, 3))
    samples = mean + np.exp(log_variance / 2) * generator.standard_normal((400_000, 4, 3))

    def log_density(values, center, log_spread):
        squares = np.square(values - center) / np.exp(log_spread)
        return -0.5 * (squares + log_spread + np.log(2 * np.pi)).sum(-1)

    ratios = log_density(samples, mean, log_variance) - log_density(samples, 0.0, np.zeros(3))
    error = ratios.mean(1).std() / np.sqrt(len(samples))
    assert abs(float(divergence(mean, log_variance)) - ratios.mean()) < 5 * error
    assert float(divergence(np.zeros((2, 3)), np.zeros((2, 3)))) == 0


def test_synthesised_embeddings_have_the_mean_and_variance(generator):
    invariant, mean, log_variance = generator.standard_normal((3, 2, 4))
    noise = generator.standard_normal((2, 200_000, 4))
    made = np.asarray(synthesize(invariant, mean, log_variance, noise))
    np.testing.assert_allclose(made.mean(1), invariant + mean, atol=0.03)
    np.testing.assert_allclose(made.var(1), np.exp(log_variance), rtol=0.02)


@pytest.mark.parametrize("second_phase", [False, True])
def test_the_losses_are_those_of_the_formulae(second_phase):
    model = variational_model(optimizer=keras.optimizers.SGD(0.0), seed=7)
    # The heads start from zeros, which would make N(μ, σ²) equal to N(0, I).
    for head, stream in ((model.spread_mean, 1), (model.spread_log_variance, 2)):
        generator = np.random.default_rng(stream)
        head.set_weights([generator.standard_normal(weight.shape) for weight in head.weights])
    images, labels = images_and_labels(12)
    features = np.asarray(model.embedding_model.features(images), "float64")

    def linear(layer, inputs):
        weights = [weight.astype("float64") for weight in layer.get_weights()]
        return inputs @ weights[0] + (weights[1] if len(weights) > 1 else 0)

    invariant = linear(model.embedding_model.projection, features)
    mean = linear(model.spread_mean, features)
    log_variance = linear(model.spread_log_variance, features)
    noise = ops.convert_to_numpy(backend.normal((12, 3, 6), (7, 0)))
    made = invariant[:, None] + mean[:, None] + np.exp(log_variance / 2)[:, None] * noise
    hidden, output = model.decoder.layers
    rebuilt = linear(output, np.maximum(linear(hidden, made), 0))
    expected = {
        "divergence": np.mean(
            0.5 * np.sum(np.exp(log_variance) + mean**2 - log_variance - 1, axis=1)
        ),
        "reconstruction": np.mean(np.sum((features[:, None] - rebuilt) ** 2, axis=2)),
        "synthesized": naive.loss("triplet", np.repeat(labels, 3), made.reshape(36, 6)),
        "invariant": naive.loss("triplet", labels, invariant),
    }
    phases = VariationalPhases(0 if second_phase else 1)
    history = model.fit(
        images, labels, batch_size=12, shuffle=False, verbose=0, callbacks=[phases]
    ).history
    for name, value in expected.items():
        assert history[name][0] == pytest.approx(value, rel=1e-3)
    weights = (0.8, 1, 0.2, 0.8) if second_phase else (1, 1, 0.1, 1)
    total = sum(weight * value for weight, value in zip(weights, expected.values(), strict=True))
    assert history["loss"][0] == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize("second_phase", [False, True])
def test_the_decoder_trains_the_network_in_the_second_phase_only(second_phase):
    model = variational_model()
    model.second_phase.assign(second_phase)
    images, labels = images_and_labels(12)
    decoder = model.decoder.trainable_variables
    network = [
        *model.embedding_model.trainable_variables,
        *model.spread_mean.trainable_variables,
        *model.spread_log_variance.trainable_variables,
    ]

    def reconstruction(values):
        with keras.StatelessScope(zip([*decoder, *network], values, strict=True)):
            features = model.embedding_model.features(images)
            return model.batch_losses(labels, features)["reconstruction"]

    values = [variable.value for variable in [*decoder, *network]]
    _, (gradients,) = value_and_gradients(reconstruction, values)
    sizes = np.array([np.abs(gradient).max() for gradient in gradients])
    assert (sizes[: len(decoder)] > 0).all()
    assert ((sizes[len(decoder) :] > 0) == second_phase).all()


def fitted(model, epochs=3):
    images, labels = images_and_labels()
    model.fit(
        images,
        labels,
        batch_size=10,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[VariationalPhases(2)],
    )
    return model.get_weights()


def test_the_same_seed_takes_the_same_steps():
    weights = fitted(variational_model())
    for one, other in zip(weights, fitted(variational_model()), strict=True):
        np.testing.assert_array_equal(one, other)
    others = fitted(variational_model(seed=1))
    assert any((one != other).any() for one, other in zip(weights, others, strict=True))


def test_xla_gives_what_does_not_depend_on_the_noise():
    images, labels = images_and_labels(10)

    def first_step(jit_compile):
        model = variational_model(jit_compile=jit_compile)
        return model.fit(images, labels, batch_size=10, shuffle=False, verbose=0).history

    one, other = first_step(False), first_step(True)
    for part in ("divergence", "invariant"):
        assert one[part][0] == pytest.approx(other[part][0], rel=1e-5)
    assert np.isfinite(other["loss"]).all()


def test_it_is_saved_with_its_phase(tmp_path):
    model = variational_model()
    fitted(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert bool(loaded.second_phase.numpy())
    images, _ = images_and_labels()
    np.testing.assert_allclose(
        loaded.synthesize(images, 2, seed=5), model.synthesize(images, 2, seed=5), atol=1e-6
    )
    assert (model.synthesize(images, 2, seed=5) != model.synthesize(images, 2, seed=6)).any()


def test_it_learns_on_the_digits():
    digits = load("digits")
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=8)
    model = VariationalModel(
        embedding_model, num_samples=4, learning_rate_multipliers={"decoder": 10}
    )
    model.compile(keras.optimizers.Adam(1e-3), loss="multi_similarity")
    images, labels = digits.train.images, digits.train.labels

    def precision():
        return retrieval_metrics(model.predict(images, verbose=0), labels)["map_at_r"]

    before = precision()
    history = model.fit(
        images, labels, batch_size=50, epochs=4, verbose=0, callbacks=[VariationalPhases(2)]
    ).history
    assert precision() > before + 0.1
    assert history["invariant"][-1] < history["invariant"][0]


def test_wrong_arguments_are_named(generator):
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=8)
    for arguments, message in [
        ({"num_samples": 0}, "num_samples must be a whole number of at least 1; got 0"),
        ({"hidden_units": 0}, "hidden_units must be a whole number of at least 1; got 0"),
        ({"first_weights": (1, 1, 1)}, "first_weights must be four numbers"),
        ({"second_weights": (1, 1, 1, -1)}, "second_weights must be four numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            VariationalModel(embedding_model, **arguments)
    with pytest.raises(ValueError, match="embedding_model must be a"):
        VariationalModel(small_convnet((8, 8, 1)))
    with pytest.raises(
        ValueError, match="first_phase_epochs must be a whole number of at least 0; got -1"
    ):
        VariationalPhases(-1)


def test_synthesised_embeddings_are_of_full_precision():
    images, _ = images_and_labels(4)
    expected = variational_model().synthesize(images, 2)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        made = variational_model().synthesize(images, 2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=0.05)
