import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import TOLERANCE, against, finite_differences, values_and_gradients


def at_angles(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.both_backends
@pytest.mark.parametrize(
    "dtype",
    # JAX computes both in float32.
    ["float32", pytest.param("float64", marks=pytest.mark.both_backends(slow=True))],
)
@pytest.mark.parametrize("angle", [0.0, 1e-5, 1e-2, np.pi - 0.6, np.pi - 0.4, np.pi - 1e-5, np.pi])
def test_every_angle_has_a_finite_gradient(angle, dtype):
    proxies, labels = at_angles(np.array([0.0, 2.0])).astype(dtype), np.array([0, 1])
    sample = at_angles(np.array([angle])).astype(dtype)
    loss = losses.get("arcface", scale=4.0)
    value, gradients = values_and_gradients(loss, labels[:1], sample, **against(proxies, labels))
    expected = naive.loss("arcface", labels[:1], sample, proxies, labels, scale=4.0)
    # Angles that rounding cannot tell from 0 or π count as these.
    assert value == pytest.approx(expected, abs=2e-3 if dtype == "float32" else 1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.both_backends
@pytest.mark.parametrize("angle", [2.5, 2.8, 3.0])
def test_the_loss_grows_with_the_angle_also_where_the_margin_exceeds_pi(angle):
    proxies, labels = at_angles(np.array([0.0, -2.0])), np.array([0, 1])

    def of_angle(angle):
        return naive.loss("arcface", [0], at_angles(angle), proxies, labels, scale=4.0)

    angles = np.array([angle])
    value, (gradient, _) = values_and_gradients(
        losses.get("arcface", scale=4.0), labels[:1], at_angles(angles), **against(proxies, labels)
    )
    assert value == pytest.approx(of_angle(angles), rel=TOLERANCE)
    slope = gradient[0] @ [-np.sin(angle), np.cos(angle)]
    assert slope == pytest.approx(finite_differences(of_angle, angles)[0], rel=1e-4)
    assert slope > 0


def test_margins_in_degrees_are_refused():
    for name in ("arcface", "sub_center_arcface"):
        with pytest.raises(ValueError, match=r"margin in radians must be below 1\.57.*; got 28\.6"):
            losses.get(name, margin=28.6)
    with pytest.raises(ValueError, match="margin must be at least 0; got -1"):
        losses.get("cosface", margin=-1)
    with pytest.raises(ValueError, match="scale must be above 0; got 0"):
        losses.get("arcface", scale=0)
