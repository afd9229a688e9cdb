import pytest
import tensorflow as tf


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A local folder that TensorFlow, and so `etils.epath`, finds at `gs://bucket`."""
    folder = tmp_path / "bucket"
    folder.mkdir()

    def local(argument):
        is_address = isinstance(argument, str) and argument.startswith("gs://bucket")
        return argument.replace("gs://bucket", str(folder)) if is_address else argument

    def redirected(function):
        return lambda *arguments, **options: function(*map(local, arguments), **options)

    for name in ("GFile", "exists", "isdir", "listdir", "makedirs", "rename"):
        monkeypatch.setattr(tf.io.gfile, name, redirected(getattr(tf.io.gfile, name)))
    return folder
