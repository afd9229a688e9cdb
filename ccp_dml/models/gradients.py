"""Steps that gradients pass through before the optimizer, in the order of the CCP paper."""

from keras import ops

from ccp_dml import backend


def add_proximal_term(gradients, weights, reference_point, proximal_weight):
    """Adds the gradient of `λ/2 ‖θ − θ_ref‖²`, that is `λ(θ − θ_ref)`.

    Args:
        gradients: List of tensors, the gradients of `weights`.
        weights: List of tensors or variables.
        reference_point: List of θ_ref like `weights`; `None` for a weight without a
            proximal term.
        proximal_weight: λ, a scalar.

    Returns:
        List of tensors.
    """
    return [
        gradient if reference is None else gradient + proximal_weight * (weight - reference)
        for gradient, weight, reference in zip(gradients, weights, reference_point, strict=True)
    ]


def add_weight_decay(gradients, weights, weight_decay, is_decayed):
    """Adds `weight_decay · w` to the gradients of the weights that are decayed.

    This is L2 regularisation, which the optimizer scales as it scales the gradients; Keras's own
    `weight_decay` is decoupled from them.

    Args:
        gradients: List of tensors, the gradients of `weights`.
        weights: List of tensors or variables.
        weight_decay: A number; 0 adds nothing.
        is_decayed: List of booleans, one per weight.

    Returns:
        List of tensors.
    """
    if not weight_decay:
        return gradients
    return [
        gradient + weight_decay * weight if decayed else gradient
        for gradient, weight, decayed in zip(gradients, weights, is_decayed, strict=True)
    ]


def clip(gradients, clip_norm=None, clip_value=None):
    """Clips by the global norm, then each value.

    Args:
        gradients: List of tensors.
        clip_norm: Largest global norm; `None` does not clip.
        clip_value: Largest absolute value; `None` does not clip.

    Returns:
        List of tensors.
    """
    if clip_norm is not None:
        norm = ops.sqrt(
            2.0 * ops.sum(ops.stack([backend.half_squared_norm(each) for each in gradients]))
        )
        largest_norm = ops.cast(clip_norm, norm.dtype)
        scale = largest_norm * ops.minimum(1.0 / norm, 1.0 / largest_norm)
        # Not 0 for gradients that are not finite: that would hide them.
        scale += norm - norm
        gradients = [gradient * ops.cast(scale, gradient.dtype) for gradient in gradients]
    # Within a global norm of at most `clip_value`, no value is larger.
    if clip_value is not None and (clip_norm is None or clip_value < clip_norm):
        gradients = [ops.clip(gradient, -clip_value, clip_value) for gradient in gradients]
    return gradients
