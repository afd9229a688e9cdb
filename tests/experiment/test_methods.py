"""Every loss with every method, as experiments make them."""

import keras
import numpy as np
import pytest

from ccp_dml.callbacks import AlternatingProjections, ShrinkageWarning
from ccp_dml.data import load, training_batches
from ccp_dml.experiment.methods import (
    best_phase,
    make_callbacks,
    make_learning_rate,
    make_optimizer,
)
from ccp_dml.experiment.settings import METHODS
from ccp_dml.losses import LOSSES, WRAPPERS
from ccp_dml.miners import MINERS
from tests.cases import AROUND_LOSSES, NEEDING_PROXIES, OF_LOSSES, settings_of, small_model

STEPS = 60

EVERYTHING = [
    *((case, method) for case in OF_LOSSES for method in METHODS),
    *((case, "ccp") for case in AROUND_LOSSES),
    ("distance_weighted", "xbm"),
    ("proxy_synthesis", "dvml"),
]
# Most losses train with most methods only in slow tests, because the methods use a loss alike: ccp
# among samples, as plain does, and against proxies; dvml among more samples of the same kind; and
# xbm against a memory, as if against proxies. Quick tests train a loss that learns with every
# method and with all at once, one of proxies with every method, and one of each kind with ccp; the
# gradients of all are compared with naive ones in `tests/losses/test_pairwise.py`. Wrappers and
# miners train with ccp as well, except for miners that are like another.
ONE_OR_ALL = ("plain", "ccp", "xbm", "dvml", "ccp+xbm+dvml")
ONE_OF_EACH_KIND = (
    "contrastive",
    "triplet",
    "multi_similarity",
    "proxy_anchor",
    "n_pair",
    "smooth_ap",
)
LIKE_OTHERS = ("hard", "hardest_pairs", "easy_positive", "semi_hard_pairs")
WITHOUT_XLA = [
    (case, method)
    for case, method in EVERYTHING
    if (case == "margin" and method in ONE_OR_ALL)
    or (case == "soft_triple" and method in ("plain", "ccp", "xbm", "dvml"))
    or (case in AROUND_LOSSES and case not in LIKE_OTHERS)
    or (case in ONE_OF_EACH_KIND and method == "ccp")
    or (case, method) in [("contrastive", "plain"), ("triplet", "xbm")]
]
# Compiling is slow, and `tests/losses/test_pairwise.py` compiles every loss on its own: here are a
# loss of ranks, one of proxies, and one that learns with all methods at once.
WITH_XLA = [("smooth_ap", "ccp"), ("soft_triple", "ccp"), ("margin", "ccp+xbm+dvml")]


@pytest.fixture(scope="module")
def digits():
    """The training samples, and one epoch of batches."""
    train = load("digits").train
    batches = training_batches(train, classes_per_batch=5, samples_per_class=3, seed=0)
    images, labels = (
        np.concatenate(each) for each in zip(*batches.take(STEPS).as_numpy_iterator(), strict=True)
    )
    return train, (images, labels)


def measure(model, images, labels):
    """The losses of samples, with the random numbers of the first step."""
    iterations = model.optimizer.iterations
    step = iterations.numpy()
    iterations.assign(0)
    start = None if model.memory is None else model.memory.last_batch_start()
    outputs = model.loss_inputs(images, training=False)
    losses = model.batch_losses(labels, outputs, memory_start=start)
    iterations.assign(step)
    return {name: float(value) for name, value in losses.items()}


def measure_with_memory(model, images, labels):
    """The losses as a step computes them, after it has added its batch to the memory.

    The other embeddings in the memory are near the samples, but never at distance 0, from which
    distances can only grow.
    """
    if model.memory is None:
        return measure(model, images, labels)
    embeddings = model.extract_embeddings(model.loss_inputs(images, training=False))
    generator = np.random.default_rng(0)
    for _ in range(model.memory.num_batches):
        noise = 0.1 * generator.standard_normal(embeddings.shape)
        model.memory.add(labels, embeddings + noise.astype("float32"))
    state = model.memory.get_weights()
    model.memory.add(labels, embeddings)
    losses = measure(model, images, labels)
    model.memory.set_weights(state)
    return losses


def take_small_step(model, images, labels):
    """The losses of a batch before and after a step so small that its gradient is all but exact.

    The first step of Adam goes against the sign of the gradient, so the objective falls by the
    learning rate times the sum of the gradient's absolute values, whatever their scale.
    """
    if hasattr(model, "proxies"):
        shape = model.proxies.vectors.shape
        model.proxies.vectors.assign(np.random.default_rng(0).standard_normal(shape))
    before = measure_with_memory(model, images, labels)
    rate = float(model.optimizer.learning_rate)
    model.optimizer.learning_rate = 1e-4
    model.fit(images, labels, batch_size=len(labels), shuffle=False, verbose=0)
    model.optimizer.learning_rate = rate
    return before, measure(model, images, labels)


def train_one_epoch(model, settings, train, images, labels, terms):
    metric = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(val_map_at_r=0.5)
    )
    callbacks = [metric, *make_callbacks(model, settings, train)]
    before = model.optimizer.iterations.numpy()
    history = model.fit(
        images, labels, batch_size=15, shuffle=False, verbose=0, callbacks=callbacks
    ).history
    # The means over all steps, in which a single value that is not finite would show.
    assert np.isfinite([history[term] for term in terms]).all()
    assert model.optimizer.iterations.numpy() - before == STEPS


def assert_descends_and_trains(case, method, digits, jit_compile):
    if case in NEEDING_PROXIES and "xbm" in method:
        with pytest.raises(
            ValueError, match=r"compares samples with proxies only: .* a cross-batch"
        ):
            small_model(method, settings_of(case, jit_compile=jit_compile))
        return
    train, (images, labels) = digits
    settings = settings_of(case, jit_compile=jit_compile)
    model = small_model(method, settings, train.num_classes)
    before, after = take_small_step(model, images[:15], labels[:15])
    if case == "easy":
        # Triplets that become easy enter the mean, which then jumps; the gradient ignores them.
        assert after["loss"] != before["loss"]
    else:
        assert after["loss"] < before["loss"]
    if "xbm" in method:
        assert before["memory_loss"] > 0
    train_one_epoch(model, settings, train, images, labels, terms=before)


def test_every_loss_wrapper_and_miner_has_a_case():
    assert set(OF_LOSSES) == set(LOSSES)
    around = {case.get("loss_wrapper") or case["miner"] for case in AROUND_LOSSES.values()}
    assert around == {*WRAPPERS, *MINERS}


@pytest.mark.parametrize(("case", "method"), WITHOUT_XLA)
def test_every_loss_trains_with_every_method(case, method, digits):
    assert_descends_and_trains(case, method, digits, jit_compile=False)


@pytest.mark.parametrize(("case", "method"), WITH_XLA)
def test_every_loss_trains_with_every_method_under_xla(case, method, digits):
    assert_descends_and_trains(case, method, digits, jit_compile=True)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "method"), [it for it in EVERYTHING if it not in WITHOUT_XLA])
def test_the_remaining_cases_train(case, method, digits):
    assert_descends_and_trains(case, method, digits, jit_compile=False)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "method"), [it for it in EVERYTHING if it not in WITH_XLA])
def test_the_remaining_cases_train_under_xla(case, method, digits):
    assert_descends_and_trains(case, method, digits, jit_compile=True)


class Validation(keras.callbacks.Callback):
    """Stands in for the callback that validates: puts given values of metrics into the logs."""

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs.update({f"val_{name}": values[epoch] for name, values in self.values.items()})


def fit_short(model, settings, train, epochs, validation=None, callbacks=()):
    """Trains for some epochs, each on the same batches and followed by a validation."""
    batches = training_batches(train, 5, 3, seed=0).take(settings.steps_per_validation).cache()
    return model.fit(
        batches.repeat(),
        steps_per_epoch=settings.steps_per_validation,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[
            validation or Validation(map_at_r=[0.5] * epochs),
            *make_callbacks(model, settings, train),
            *callbacks,
        ],
    ).history


def after_every_epoch(read):
    values = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: values.append(read())
    )
    return values, callback


def test_the_backbone_is_held_for_whole_validations(digits):
    train = digits[0].subset(np.arange(40))
    # Two passes over 40 samples are 6 batches of 15: two validations of 4 steps, not one and a
    # half.
    settings = settings_of("triplet", freeze_backbone_epochs=2, steps_per_validation=4)
    model = small_model("plain", settings)
    network = model.embedding_model
    weights, look = after_every_epoch(
        lambda: (network.backbone.get_weights()[0], network.projection.get_weights()[0])
    )
    initial = network.backbone.get_weights()[0]
    fit_short(model, settings, train, epochs=3, callbacks=[look])
    kernels, projections = zip(*weights, strict=True)
    np.testing.assert_array_equal(kernels[0], initial)
    np.testing.assert_array_equal(kernels[1], initial)
    assert (kernels[2] != initial).any()
    assert (projections[0] != projections[1]).any()


def test_the_second_phase_begins_with_a_validation(digits):
    train = digits[0]
    settings = settings_of("triplet", first_phase_steps=5, steps_per_validation=4)
    model = small_model("dvml", settings, train.num_classes)
    phases, look = after_every_epoch(lambda: bool(model.second_phase.numpy()))
    fit_short(model, settings, train, epochs=4, callbacks=[look])
    assert phases == [False, False, True, True]


def test_methods_need_no_other_callbacks(digits):
    settings = settings_of("triplet")
    for method in METHODS:
        model = small_model(method, settings, digits[0].num_classes)
        names = [type(each).__name__ for each in make_callbacks(model, settings, digits[0])]
        expected = [
            *(["VariationalPhases"] if "dvml" in method else []),
            *(["AlternatingProjections"] if "ccp" in method else []),
        ]
        assert names == expected


def test_a_warmup_is_compared_with_what_follows(digits):
    settings = settings_of("triplet", warmup_steps=5, monitor="r_precision")
    model = small_model("ccp", settings, digits[0].num_classes)
    _, warning = make_callbacks(model, settings, digits[0])
    assert isinstance(warning, ShrinkageWarning)
    assert warning.monitor == "val_r_precision"


def test_plateaus_lower_the_learning_rate(digits):
    train = digits[0].subset(np.arange(40))
    settings = settings_of(
        "triplet",
        steps_per_validation=1,
        learning_rate=0.25,
        monitor="r_precision",
        plateau_patience=2,
        plateau_cooldown=0,
        plateau_min_delta=0.01,
        min_learning_rate=0.1,
    )
    model = small_model("plain", settings)
    validation = Validation(
        # The first plateau has two improvements that are too small; the second reaches the floor.
        r_precision=[0.5, 0.505, 0.509, 0.52, 0.52, 0.52, 0.52, 0.52],
        map_at_r=np.arange(8) / 10,
    )
    history = fit_short(model, settings, train, 8, validation)
    # The rate of each epoch, before the validation after it changes the rate.
    rates = [0.25] * 3 + [0.125] * 3 + [0.1] * 2
    assert history["learning_rate"] == pytest.approx(rates)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_the_last_validation_of_a_cooldown_is_of_the_next_plateau(digits):
    train = digits[0].subset(np.arange(40))
    settings = settings_of("triplet", steps_per_validation=1, plateau_patience=1)
    assert settings.plateau_cooldown == 2
    model = small_model("plain", settings)
    history = fit_short(model, settings, train, epochs=6)
    start = settings.learning_rate
    assert history["learning_rate"] == pytest.approx(
        [start, start, start / 2, start / 2, start / 4, start / 4]
    )


def test_plateaus_lower_multiplied_learning_rates_too(digits):
    train = digits[0].subset(np.arange(40))
    settings = settings_of(
        "proxy_nca",
        steps_per_validation=1,
        plateau_patience=1,
        plateau_cooldown=0,
        learning_rate_multipliers={"proxies": 20.0},
    )
    model = small_model("plain", settings)
    model.compile(keras.optimizers.SGD(0.01), loss=model.loss)
    variables = model.trainable_variables
    initial = [variable.numpy() for variable in variables]
    steps = []

    def start_again(epoch, logs):
        steps.append(
            [variable.numpy() - old for variable, old in zip(variables, initial, strict=True)]
        )
        for variable, old in zip(variables, initial, strict=True):
            variable.assign(old)

    look = keras.callbacks.LambdaCallback(on_epoch_end=start_again)
    fit_short(model, settings, train, epochs=3, callbacks=[look])
    for first, second, third in zip(*steps, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-7)
        np.testing.assert_allclose(third, first / 2, rtol=0.01, atol=1e-6)
        assert np.abs(first).max() > 1e-4


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_learning_rate_has_a_warm_up_and_a_schedule(schedule, digits):
    settings = settings_of(
        "contrastive",
        learning_rate=0.5,
        learning_rate_schedule=schedule,
        learning_rate_warmup_steps=4,
        max_steps=19,
        steps_per_validation=2,
    )
    # 19 steps are 10 whole validations.
    after = np.arange(2, 21, 2)
    decay = 0.5 + 0.5 * np.cos(np.pi * (after - 4) / 16)
    expected = 0.5 * np.where(after < 4, after / 4, decay if schedule == "cosine" else 1.0)
    model = small_model("plain", settings)
    history = fit_short(model, settings, digits[0].subset(np.arange(40)), epochs=10)
    assert history["learning_rate"] == pytest.approx(expected, abs=1e-6)


def test_a_schedule_without_warm_up_starts_at_the_learning_rate():
    settings = settings_of("contrastive", learning_rate=0.5, learning_rate_schedule="cosine")
    assert float(make_learning_rate(settings)(0)) == 0.5
    assert make_learning_rate(settings_of("contrastive", learning_rate=0.5)) == 0.5


def test_adamw_decays_apart_from_the_gradients_but_no_biases(digits):
    settings = settings_of("contrastive", optimizer="adamw", weight_decay=0.1, learning_rate=0.1)
    model = small_model("plain", settings)
    assert model.weight_decay == 0.0
    optimizer, variables = model.optimizer, model.trainable_variables
    # Without gradients, nothing but weight decay moves them.
    before = [variable.numpy() + 1.0 for variable in variables]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    optimizer.apply([0 * variable.value for variable in variables], variables)
    decayed = {"kernel": 1 - 0.1 * 0.1, "bias": 1.0}
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_allclose(variable.numpy(), decayed[variable.name] * value, rtol=1e-6)


@pytest.mark.parametrize("decay_proxies", [True, False])
def test_adamw_decays_proxies_if_it_is_told_to(decay_proxies):
    settings = settings_of(
        "contrastive",
        optimizer="adamw",
        weight_decay=0.1,
        learning_rate=0.1,
        decay_proxies=decay_proxies,
    )
    model = small_model("ccp", settings)
    proxies, variables = model.proxies.vectors, model.trainable_variables
    before = proxies.numpy()
    model.optimizer.apply([0 * variable.value for variable in variables], variables)
    factor = 1 - 0.1 * 0.1 if decay_proxies else 1.0
    np.testing.assert_allclose(proxies.numpy(), factor * before, rtol=1e-6)


def test_adamw_does_not_decay_what_a_loss_learns():
    settings = settings_of(
        "margin",
        loss_wrapper="multi_level_distance",
        optimizer="adamw",
        weight_decay=0.1,
        learning_rate=0.1,
    )
    model = small_model("plain", settings)
    learned, variables = model.loss_weights.weights, model.trainable_variables
    assert {weight.name for weight in learned} == {"boundaries", "levels"}
    before = [weight.numpy() for weight in learned]
    model.optimizer.apply([0 * variable.value for variable in variables], variables)
    for weight, value in zip(learned, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_the_settings_of_the_rounds_reach_them(digits):
    settings = settings_of(
        "contrastive",
        proxy_selection="random",
        max_renewals=3,
        max_round_validations=7,
        decay_proxies=False,
    )
    model = small_model("ccp", settings)
    assert not model.decay_proxies
    (rounds,) = make_callbacks(model, settings, digits[0])
    assert rounds.proxy_selection == "random"
    assert (rounds.max_renewals, rounds.max_round_epochs) == (3, 7)
    (rounds,) = make_callbacks(model, settings_of("contrastive"), digits[0])
    assert (rounds.max_renewals, rounds.max_round_epochs) == (None, None)


def test_the_optimizer_keeps_averages_if_it_is_told_to():
    assert not make_optimizer(settings_of("contrastive")).use_ema
    optimizer = make_optimizer(settings_of("contrastive", ema_momentum=0.75))
    assert optimizer.use_ema
    assert optimizer.ema_momentum == 0.75


@pytest.mark.parametrize("monitor", ["map_at_r", "precision_at_1"])
def test_the_monitor_ends_rounds(monitor, digits):
    train = digits[0]
    settings = settings_of("triplet", steps_per_validation=1, round_patience=2, monitor=monitor)
    model = small_model("ccp", settings, train.num_classes)
    still, rising = [0.5] * 6, np.arange(6) / 10
    other = {"map_at_r": "precision_at_1", "precision_at_1": "map_at_r"}[monitor]
    history = fit_short(model, settings, train, 6, Validation(**{monitor: still, other: rising}))
    # The first validation of a round is its best, and the second after it ends the round.
    assert history["round"] == [0, 0, 0, 1, 1, 1]


def phases(method, train, rounds=None, **changes):
    """The phase of the best weights, for each of ten epochs of 4 steps they may be from."""
    settings = settings_of("contrastive", steps_per_validation=4, **changes)
    model = small_model(method, settings, train.num_classes)
    callbacks = make_callbacks(model, settings, train)
    for callback in callbacks:
        if isinstance(callback, AlternatingProjections):
            callback.restore({**callback.state(), "round_of_epoch": np.array(rounds)})
    return [best_phase(model, callbacks, epoch, steps_per_epoch=4) for epoch in range(10)]


def test_the_phase_of_the_best_weights_is_known(digits):
    train = digits[0]
    assert phases("plain", train) == [""] * 10
    # Three passes over 90 samples are 18 batches of 15.
    few = train.subset(np.arange(90))
    assert phases("plain", few, freeze_backbone_epochs=3) == ["frozen backbone"] * 5 + [""] * 5
    assert phases("dvml", train, first_phase_steps=9) == ["first phase"] * 3 + [""] * 7
    rounds = [-1, -1, 0, 0, 0, 1, 1, 2, 2, 2]
    assert phases("ccp", train, rounds) == ["warm-up"] * 2 + ["round 0"] * 3 + [""] * 5


@pytest.mark.parametrize(
    ("batches", "start_step", "epochs"),
    # Epochs of four steps. The memory is first used in step batches + start_step.
    [(4, 0, 0), (5, 0, 1), (8, 0, 1), (3, 12, 3), (3, 13, 3), (3, 14, 4), (4, 5, 2)],
)
def test_the_memory_may_not_have_been_in_use(batches, start_step, epochs, digits):
    found = phases("xbm", digits[0], memory_batches=batches, memory_start_step=start_step)
    assert found == ["memory not in use"] * epochs + [""] * (10 - epochs)


def test_the_first_of_several_phases_is_named(digits):
    rounds = [-1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    found = phases("ccp+xbm+dvml", digits[0], rounds, memory_start_step=22, first_phase_steps=20)
    assert found == ["first phase"] * 5 + ["memory not in use"] + [""] * 4


def test_without_a_best_epoch_there_is_no_phase(digits):
    settings = settings_of("contrastive", freeze_backbone_epochs=1)
    model = small_model("plain", settings, digits[0].num_classes)
    assert best_phase(model, make_callbacks(model, settings, digits[0]), -1, 4) == ""
