"""BN-Inception again, from its published table, on NCHW NumPy arrays or PyTorch tensors."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# Block: 1x1; 3x3 reduce, 3x3; double 3x3 reduce, 1, 2; pool and its projection.
TABLE = """
3a    64    64  64     64  96  96   average 32
3b    64    64  96     64  96  96   average 64
3c    -    128 160     64  96  96   max     -
4a   224    64  96     96 128 128   average 128
4b   192    96 128     96 128 128   average 128
4c   160   128 160    128 160 160   average 128
4d    96   128 192    160 192 192   average 128
4e    -    128 192    192 256 256   max     -
5a   352   192 320    160 224 224   average 128
5b   352   192 320    192 224 224   max     128
"""
# Channels of each block's output, as published.
OUTPUTS = {"3a": 256, "3b": 320, "3c": 576, "4a": 576, "4b": 576, "4c": 608, "4d": 608}
OUTPUTS |= {"4e": 1056, "5a": 1024, "5b": 1024}


def convolutions():
    """Name, kernel size and channels in and out of every convolution."""
    yield from [("conv1_7x7_s2", 7, 3, 64), ("conv2_3x3_reduce", 1, 64, 64)]
    yield "conv2_3x3", 3, 64, 192
    channels = 192
    for row in TABLE.split("\n")[1:-1]:
        block, direct, *middle, _, projection = row.split()
        single_reduce, single, double_reduce, double_1, double_2 = map(int, middle)
        name = f"inception_{block}"
        if direct != "-":
            yield f"{name}_1x1", 1, channels, int(direct)
            yield f"{name}_pool_proj", 1, channels, int(projection)
        yield f"{name}_3x3_reduce", 1, channels, single_reduce
        yield f"{name}_3x3", 3, single_reduce, single
        yield f"{name}_double_3x3_reduce", 1, channels, double_reduce
        yield f"{name}_double_3x3_1", 3, double_reduce, double_1
        yield f"{name}_double_3x3_2", 3, double_1, double_2
        channels = OUTPUTS[block]


def random_state_dict(generator):
    """Weights of typical size, by their names in the PyTorch port."""
    state = {}
    for name, size, channels, filters in convolutions():
        scale = np.sqrt(2 / (size * size * channels))
        state[f"{name}.weight"] = generator.normal(0, scale, (filters, channels, size, size))
        state[f"{name}.bias"] = generator.normal(0, 0.1, filters)
        state[f"{name}_bn.weight"] = generator.uniform(0.5, 1.5, filters)
        state[f"{name}_bn.bias"] = generator.normal(0, 0.1, filters)
        state[f"{name}_bn.running_mean"] = generator.normal(0, 0.1, filters)
        state[f"{name}_bn.running_var"] = generator.uniform(0.5, 1.5, filters)
    state = {key: array.astype("float32") for key, array in state.items()}
    state["conv1_7x7_s2_bn.num_batches_tracked"] = np.array(7)
    state["last_linear.weight"] = np.zeros((1000, 1024), "float32")
    state["last_linear.bias"] = np.zeros(1000, "float32")
    return state


class NumpyOperations:
    """float64, one window at a time."""

    concatenate = staticmethod(lambda branches: np.concatenate(branches, axis=1))

    @staticmethod
    def convolution(images, weight, bias, stride, padding):
        windows = _windows(images, len(weight[0, 0]), stride, padding, padding, 0.0)
        products = np.einsum("bchwij,ocij->bohw", windows, weight.astype("float64"), optimize=True)
        return products + bias[:, None, None]

    @staticmethod
    def normalization(images, weight, bias, mean, variance):
        weight, bias, mean, variance = (
            array.astype("float64")[:, None, None] for array in (weight, bias, mean, variance)
        )
        return (images - mean) / np.sqrt(variance + 1e-5) * weight + bias

    relu = staticmethod(lambda images: np.maximum(images, 0))

    @staticmethod
    def maximum(images, stride, padding):
        # The number of windows is rounded up: the last may reach over the edge.
        after = [(side + 2 * padding - 3) % stride + padding for side in images.shape[2:]]
        windows = _windows(images, 3, stride, padding, after, -np.inf)
        return windows.max((4, 5))

    @staticmethod
    def average(images):
        return _windows(images, 3, 1, 1, 1, 0.0).mean((4, 5))


def _windows(images, size, stride, before, after, fill):
    after_rows, after_columns = np.broadcast_to(after, 2)
    padding = ((0, 0), (0, 0), (before, after_rows), (before, after_columns))
    padded = np.pad(images, padding, constant_values=fill)
    windows = sliding_window_view(padded, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride]


class TorchOperations:
    """The operations that the PyTorch port is made of."""

    def __init__(self, torch):
        self.functional, self.torch = torch.nn.functional, torch

    def concatenate(self, branches):
        return self.torch.cat(branches, 1)

    def convolution(self, images, weight, bias, stride, padding):
        return self.functional.conv2d(images, weight, bias, stride, padding)

    def normalization(self, images, weight, bias, mean, variance):
        return self.functional.batch_norm(images, mean, variance, weight, bias, eps=1e-5)

    def relu(self, images):
        return self.functional.relu(images)

    def maximum(self, images, stride, padding):
        return self.functional.max_pool2d(images, 3, stride, padding, ceil_mode=True)

    def average(self, images):
        return self.functional.avg_pool2d(images, 3, 1, 1, ceil_mode=True, count_include_pad=True)


def feature_map(images, state, operations):
    """The output of block 5b, `(batch, 1024, height, width)`."""

    def convolution(images, name, stride=1):
        weight = state[f"{name}.weight"]
        padding = len(weight[0, 0]) // 2
        images = operations.convolution(images, weight, state[f"{name}.bias"], stride, padding)
        parts = ("weight", "bias", "running_mean", "running_var")
        return operations.relu(
            operations.normalization(images, *(state[f"{name}_bn.{part}"] for part in parts))
        )

    features = operations.maximum(convolution(images, "conv1_7x7_s2", stride=2), 2, 0)
    features = convolution(convolution(features, "conv2_3x3_reduce"), "conv2_3x3")
    features = operations.maximum(features, 2, 0)
    for row in TABLE.split("\n")[1:-1]:
        block, direct, *_, pool, _ = row.split()
        name, stride = f"inception_{block}", 2 if direct == "-" else 1
        single = convolution(features, f"{name}_3x3_reduce")
        single = convolution(single, f"{name}_3x3", stride)
        double = convolution(features, f"{name}_double_3x3_reduce")
        double = convolution(double, f"{name}_double_3x3_1")
        double = convolution(double, f"{name}_double_3x3_2", stride)
        if direct == "-":
            branches = [single, double, operations.maximum(features, 2, 0)]
        else:
            if pool == "max":
                pooled = operations.maximum(features, 1, 1)
            else:
                pooled = operations.average(features)
            projected = convolution(pooled, f"{name}_pool_proj")
            branches = [convolution(features, f"{name}_1x1"), single, double, projected]
        features = operations.concatenate(branches)
        assert features.shape[1] == OUTPUTS[block]
    return features
