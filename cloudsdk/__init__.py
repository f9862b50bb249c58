"""What runs on the device: a Python port of the RT-Thread CloudSDK 2.0.0. Knows nothing of `sim`."""
