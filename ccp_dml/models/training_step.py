"""The training step of the backend that Keras runs on.

What is minimised, and what happens to its gradients, is defined once, in `MetricLearningStep` and
`MetricLearningModel`. The steps in `tensorflow_step.py` and `jax_step.py` differ only in how
gradients are computed and how variables change: TensorFlow writes to them, JAX takes and returns
their values.
"""

import keras

if keras.backend.backend() == "jax":
    from ccp_dml.models.jax_step import JaxStep as TrainingStep
else:
    from ccp_dml.models.tensorflow_step import TensorFlowStep as TrainingStep

__all__ = ["TrainingStep"]
