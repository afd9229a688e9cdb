"""The programs beside exported models read pixels as the networks see them."""

import importlib.resources
import json
import runpy
import shutil

import numpy as np
import pytest
from PIL import Image

from ccp_dml.data.decoding import decode_image


@pytest.mark.parametrize(
    ("name", "runtime"), [("onnx", "onnxruntime"), ("tflite", "ai_edge_litert.interpreter")]
)
def test_pixels_are_those_of_the_networks(name, runtime, tmp_path):
    pytest.importorskip(runtime)
    example = importlib.resources.files("ccp_dml.inference") / "examples" / f"{name}.py"
    shutil.copy(str(example), tmp_path / "example.py")
    background = (10, 20, 30)
    (tmp_path / f"{name}_input.json").write_text(json.dumps({"background": background}))
    read_pixels = runpy.run_path(str(tmp_path / "example.py"))["read_pixels"]
    translucent = np.zeros((4, 6, 4), "uint8")
    translucent[:2] = 255
    sixteen_bits = np.arange(0, 65536, 1024, "uint16").reshape(8, 8)
    for pixels in (translucent, sixteen_bits):
        Image.fromarray(pixels).save(tmp_path / "a.png")
        found = read_pixels(tmp_path / "a.png")
        expected = decode_image((tmp_path / "a.png").read_bytes(), background)
        np.testing.assert_array_equal(found, expected[np.newaxis])
