"""Features of a network of timm with random weights.

In a process of its own, without TensorFlow, beside which torchvision cannot be imported. Its
arguments are the name in timm and a folder; it writes the weights, twice, and an array file there.
"""

import json
import pathlib
import sys

import numpy as np
import timm
import torch

SIZE = 64


def main(name, folder):
    torch.manual_seed(0)
    options = {"img_size": SIZE} if name.startswith("vit") else {}
    network = timm.create_model(name, pretrained=False, **options).eval()
    with torch.no_grad():
        # Weights that start alike would hide that they are taken for each other.
        for array in [*network.parameters(), *network.buffers()]:
            if array.is_floating_point():
                array += 0.05 * (0.1 + array.abs().mean()) * torch.rand_like(array)
        images = 4 * torch.rand(2, 3, SIZE, SIZE) - 2
        features = network.forward_features(images)
    torch.save(network.state_dict(), folder / "network.pth")
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, folder / "checkpoint.pth")
    if features.ndim == 4:
        features = features.permute(0, 2, 3, 1)
    images = images.permute(0, 2, 3, 1)
    np.savez(folder / "features.npz", images=images.numpy(), features=features.numpy())
    scaling = {part: network.pretrained_cfg[part] for part in ("mean", "std")}
    (folder / "scaling.json").write_text(json.dumps(scaling))


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
