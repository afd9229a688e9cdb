"""Reading weights from PyTorch files."""

import os
import pathlib
import pickle

import numpy as np

# Where training scripts, such as those of timm and DeiT, store the weights among other things.
_PARTS_OF_CHECKPOINTS = ("state_dict", "model")


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a `.pth` file, in the old or the new (zip) format.

    This requires PyTorch, an optional dependency. Only tensors are read: a file cannot run code.

    Args:
        path: The file.

    Returns:
        Arrays by name, float32 if they hold floating-point numbers.

    Raises:
        ValueError: If there is no such file, PyTorch is not installed, or the file does not hold
            tensors by name.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        import torch  # pyright: ignore[reportMissingImports] (of the extra `torch`)
    except ImportError as error:
        raise ValueError(
            f'reading {path} requires PyTorch: pip install "ccp_dml[torch]", or make a file of '
            "Keras where PyTorch is installed: ccp_dml.models.get_backbone(name, input_shape, "
            f"{str(path)!r}).save_weights('out.weights.h5')"
        ) from error
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    # The error that PyTorch raises depends on which byte is wrong.
    except (pickle.UnpicklingError, RuntimeError, ValueError, LookupError, EOFError) as error:
        raise ValueError(f"{path} is not a file of PyTorch weights") from error
    for part in _PARTS_OF_CHECKPOINTS:
        if isinstance(tensors, dict) and isinstance(tensors.get(part), dict):
            tensors = tensors[part]
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise ValueError(f"{path} does not hold tensors by name, a state dict")
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        for name, tensor in tensors.items()
    }
