"""Cases for devices, tried by a scripted cloud."""

from sim.conformance.device import cloud_cases, console_cases, upgrade_cases
from sim.conformance.device.bench import SUITE, DeviceBench, DeviceTarget, starter

__all__ = ["SUITE", "DeviceBench", "DeviceTarget", "starter"]
_MODULES = (cloud_cases, upgrade_cases, console_cases)
