"""The loss, the model and the callbacks of a method, made from settings."""

import math
from collections.abc import Sequence

import keras

from ccp_dml import losses, miners
from ccp_dml.callbacks import (
    AlternatingProjections,
    FreezeBackbone,
    HardClasses,
    LearningRateLog,
    ReduceLROnPlateau,
    ShrinkageWarning,
    VariationalPhases,
)
from ccp_dml.checks import check_whole_number
from ccp_dml.data import LabeledSamples, class_pools
from ccp_dml.experiment.precision import precision_scope
from ccp_dml.experiment.settings import Settings
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    VariationalChanceConstrainedModel,
    VariationalModel,
    VariationalProxyModel,
)
from ccp_dml.optimizers import LazyAdam

# Weights exempt from an optimizer's own decay, as are those that a loss learns.
_WITHOUT_DECAY = ("bias", "gamma", "beta")
_PROXIES = "vectors"


def make_loss(settings: Settings) -> losses.PairwiseLoss:
    """Makes the loss, with its miner and its wrapper.

    Raises:
        ValueError: If a parameter is out of range, or the wrapper does not fit the loss.
    """
    loss = losses.get(settings.loss, **settings.loss_params)
    if settings.miner != "none":
        miner = miners.get(settings.miner, **settings.miner_params)
        loss = losses.Mined(loss, miner)
    if settings.loss_wrapper != "none":
        loss = losses.get(settings.loss_wrapper, loss=loss, **settings.loss_wrapper_params)
    return loss


def make_learning_rate(
    settings: Settings,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Makes the learning rate, or its schedule over the steps of a whole training."""
    rate, warmup_steps = settings.learning_rate, settings.learning_rate_warmup_steps
    if settings.learning_rate_schedule == "cosine":
        steps = _count_validations(settings.max_steps, settings) * settings.steps_per_validation
        options = {"warmup_target": rate, "warmup_steps": warmup_steps} if warmup_steps else {}
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate, steps - warmup_steps, **options
        )
    if warmup_steps:
        # Linear from 0, then constant.
        return keras.optimizers.schedules.PolynomialDecay(0.0, warmup_steps, end_learning_rate=rate)
    return rate


def make_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """Makes the optimizer of all weights; the model applies multipliers and freezes weights."""
    options = {"learning_rate": make_learning_rate(settings), "beta_2": settings.beta_2}
    if settings.ema_momentum:
        options |= {"use_ema": True, "ema_momentum": settings.ema_momentum}
    if settings.sampled_classes:
        return LazyAdam(**options)
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(**options)
    optimizer = keras.optimizers.AdamW(weight_decay=settings.weight_decay, **options)
    without_decay = [*_WITHOUT_DECAY, *make_loss(settings).initial_weights(num_classes=1)]
    if not settings.decay_proxies:
        without_decay.append(_PROXIES)
    optimizer.exclude_from_weight_decay(var_names=without_decay)
    return optimizer


def make_model(
    method: str, settings: Settings, embedding_model: EmbeddingModel, num_classes: int
) -> MetricLearningModel:
    """Makes the compiled model of a method.

    Args:
        method: One of `ccp_dml.experiment.METHODS`.
        settings: Settings of the loss, the optimizer, the precision and the method.
        embedding_model: The network to train.
        num_classes: Number of training classes.

    Raises:
        ValueError: If the loss does not fit the method, or a learning rate multiplier matches no
            weight.
    """
    parts, loss = method.split("+"), make_loss(settings)
    has_proxies = "ccp" in parts or loss.is_proxy_loss
    options = {
        # AdamW has its own weight decay.
        "weight_decay": settings.weight_decay if settings.optimizer == "adam" else 0.0,
        "clip_norm": settings.clip_norm,
        "clip_value": settings.clip_value,
        "learning_rate_multipliers": settings.learning_rate_multipliers,
        "layer_decay": settings.layer_decay,
        "num_classes": num_classes,
        "gradient_cache_parts": settings.gradient_cache_parts,
    }
    if "xbm" in parts:
        options["memory"] = CrossBatchMemory(
            settings.memory_batches,
            settings.classes_per_batch * settings.samples_per_class,
            settings.memory_start_step,
            settings.memory_includes_batch,
            name="memory",
        )
    if has_proxies:
        # With neither rounds nor a memory, a proxy loss uses only proxies, as in its paper.
        needs_batch_alone = not {"ccp", "xbm"} & set(parts)
        options |= {
            "proxies_per_class": loss.proxies_per_class
            or (settings.proxies_per_class if "ccp" in parts else 1),
            "proxy_loss_weight": settings.proxy_loss_weight,
            "batch_loss_weight": 0.0 if needs_batch_alone else settings.batch_loss_weight,
            "sampled_classes": settings.sampled_classes,
            "sampling_seed": settings.seed,
            "decay_proxies": settings.decay_proxies,
        }
    if "dvml" in parts:
        options |= {
            "num_samples": settings.variational_samples,
            "hidden_units": settings.variational_hidden_units,
            "first_weights": settings.first_phase_weights,
            "second_weights": settings.second_phase_weights,
            "seed": settings.seed,
            "learning_rate_multipliers": {
                "decoder": settings.decoder_learning_rate / settings.learning_rate,
                **settings.learning_rate_multipliers,
            },
        }
    with precision_scope(settings.precision):
        model = _choose_model_class(parts, has_proxies)(embedding_model, **options)
        model.compile(
            make_optimizer(settings),
            loss=loss,
            jit_compile=settings.jit_compile,
            steps_per_execution=settings.steps_per_execution,
        )
    return model


def _choose_model_class(parts, has_proxies):
    is_variational = "dvml" in parts
    if "ccp" in parts:
        return VariationalChanceConstrainedModel if is_variational else ChanceConstrainedModel
    if has_proxies:
        return VariationalProxyModel if is_variational else ProxyModel
    return VariationalModel if is_variational else MetricLearningModel


def make_callbacks(
    model: MetricLearningModel, settings: Settings, train: LabeledSamples, on_round_end=None
) -> list[keras.callbacks.Callback]:
    """Makes the callbacks of a method; put them after the callback that validates.

    Args:
        model: What `make_model` returned.
        settings: The settings it was made from.
        train: The training samples.
        on_round_end: See `AlternatingProjections`. Defaults to `None`.
    """
    callbacks = []
    if settings.sampler == "hard_classes":
        callbacks.append(make_hard_classes(settings, train))
    if settings.freeze_backbone_epochs:
        batch_size = settings.classes_per_batch * settings.samples_per_class
        steps = math.ceil(settings.freeze_backbone_epochs * len(train) / batch_size)
        callbacks.append(FreezeBackbone(_count_validations(steps, settings)))
    if isinstance(model, VariationalModel):
        callbacks.append(
            VariationalPhases(_count_validations(settings.first_phase_steps, settings))
        )
    if not isinstance(make_learning_rate(settings), float):
        callbacks.append(LearningRateLog())
    if settings.plateau_patience:
        callbacks.append(
            ReduceLROnPlateau(
                f"val_{settings.monitor}",
                factor=settings.plateau_factor,
                patience=settings.plateau_patience,
                mode="max",
                min_delta=settings.plateau_min_delta,
                cooldown=settings.plateau_cooldown,
                min_lr=settings.min_learning_rate,
            )
        )
    if isinstance(model, ChanceConstrainedModel):
        proxies_per_class = model.proxies.proxies_per_class
        draws = settings.pool_size
        if draws < proxies_per_class:
            draws *= proxies_per_class
        callbacks.append(
            AlternatingProjections(
                class_pools(train, draws, settings.seed),
                monitor=f"val_{settings.monitor}",
                patience=settings.round_patience,
                min_delta=settings.round_min_delta,
                proximal_weight=settings.proximal_weight,
                proximal_growth=settings.proximal_growth,
                perturbation=settings.perturbation,
                warmup_epochs=_count_validations(settings.warmup_steps, settings),
                proxy_selection=settings.proxy_selection,
                max_renewals=None if settings.max_renewals < 0 else settings.max_renewals,
                max_round_epochs=settings.max_round_validations or None,
                seed=settings.seed,
                on_round_end=on_round_end,
            )
        )
        if settings.warmup_steps:
            callbacks.append(ShrinkageWarning(f"val_{settings.monitor}"))
    return callbacks


def make_hard_classes(settings: Settings, train: LabeledSamples) -> HardClasses:
    """Makes the callback that tells the sampler `hard_classes` which classes are near.

    Args:
        settings: Settings of the sampler.
        train: The training samples.

    Raises:
        ValueError: If a parameter is not a positive whole number.
    """
    params = settings.sampler_params
    draws = check_whole_number("center_samples", params.get("center_samples", 4), least=1)
    return HardClasses(
        class_pools(train, draws, settings.seed),
        settings.steps_per_validation,
        params.get("nearest", 10),
        params.get("validations", 1),
    )


def best_phase(
    model: MetricLearningModel,
    callbacks: Sequence[keras.callbacks.Callback],
    best_epoch: int,
    steps_per_epoch: int,
) -> str:
    """Returns the phase with the best weights, if the method was not fully in effect there.

    Args:
        model: The model after training.
        callbacks: The callbacks of its training.
        best_epoch: The epoch with the best weights, from 0; −1 if there is none.
        steps_per_epoch: Number of steps of an epoch.

    Returns:
        `"frozen backbone"`; `"warm-up"`, before the first round of CCP; `"round 0"`, before its
        proxies were renewed; `"memory not in use"`; `"first phase"` of DVML; or `""`.
    """
    if best_epoch < 0:
        return ""
    for callback in callbacks:
        if isinstance(callback, FreezeBackbone) and best_epoch < callback.epochs:
            return "frozen backbone"
        if isinstance(callback, AlternatingProjections):
            round_number = callback.round_of_epoch(best_epoch)
            if round_number < 1:
                return "warm-up" if round_number < 0 else "round 0"
        if isinstance(callback, VariationalPhases) and best_epoch < callback.first_phase_epochs:
            return "first phase"
    steps = (best_epoch + 1) * steps_per_epoch
    if model.memory is not None and steps < model.memory.first_step:
        return "memory not in use"
    return ""


def _count_validations(steps, settings):
    return math.ceil(steps / settings.steps_per_validation)
