"""Features of a timm network with random weights.

It runs in a process of its own, because torchvision cannot be imported beside TensorFlow. Its
arguments are the network's name in timm and a folder, where it writes the weights, in two forms,
the features and the scaling.
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
        # Equal initial weights would hide that one is mistaken for another.
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
