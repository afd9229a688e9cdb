"""The command line on logical CPUs in place of GPUs; takes their number and then the flags."""

import sys

import tensorflow as tf

from ccp_dml import main

if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical_cpus = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv.pop(1))
    tf.config.set_logical_device_configuration(cpu, logical_cpus)
    main.run()
