"""Writes tiny KerasHub presets, as KerasHub itself does."""

import pathlib

import keras_hub
import numpy as np

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SYMMETRIC = {"scale": 1 / 127.5, "offset": -1.0}
TORCH = {"scale": (1 / 255 / DEVIATION).tolist(), "offset": (-MEAN / DEVIATION).tolist()}


def vit(image_size=32):
    return keras_hub.models.ViTBackbone(
        image_shape=(image_size, image_size, 3),
        patch_size=16,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=16,
    )


def dinov2():
    return keras_hub.models.DINOV2Backbone(
        patch_size=14,
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=16,
        image_shape=(28, 28, 3),
        position_embedding_shape=(28, 28, 3),
    )


def siglip():
    return keras_hub.models.SigLIPBackbone(
        keras_hub.models.SigLIPVisionEncoder(16, 8, 1, 2, 16, image_shape=(32, 32, 3), name="eye"),
        keras_hub.models.SigLIPTextEncoder(20, 8, 8, 1, 2, 16, max_sequence_length=4, name="ear"),
    )


def resnet():
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )


def efficientnet():
    return keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0],
        stackwise_depth_coefficients=[1.0],
        stackwise_kernel_sizes=[3],
        stackwise_num_repeats=[1],
        stackwise_input_filters=[8],
        stackwise_output_filters=[8],
        stackwise_expansion_ratios=[1],
        stackwise_squeeze_and_excite_ratios=[0.25],
        stackwise_strides=[1],
        stackwise_block_types=["v1"],
        stackwise_force_input_filters=[0],
        stackwise_nores_option=[False],
    )


PRESETS = {
    "vit": (vit, keras_hub.layers.ViTImageConverter, 32, SYMMETRIC),
    "dinov2": (dinov2, keras_hub.layers.DINOV2ImageConverter, 28, TORCH),
    "siglip": (siglip, keras_hub.layers.SigLIPImageConverter, 32, SYMMETRIC),
    "resnet": (resnet, keras_hub.layers.ResNetImageConverter, 32, TORCH),
    "efficientnet": (efficientnet, keras_hub.layers.EfficientNetImageConverter, 32, TORCH),
}


def write_preset(kind: str, folder: pathlib.Path, **values):
    """Writes a preset, and returns its image size, network and image converter.

    Args:
        kind: One of `PRESETS`.
        folder: The folder to write to.
        **values: How values are scaled, if not as usual for the kind.
    """
    make, converter, size, usual = PRESETS[kind]
    network, prepare = make(), converter(image_size=(size, size), **(values or usual))
    network.save_to_preset(folder)
    prepare.save_to_preset(folder)
    return size, network, prepare
