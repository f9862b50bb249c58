"""Cases for clouds, tried by a scripted device."""

from sim.conformance.cloud import (
    activation_cases,
    console_cases,
    firmware_cases,
    hostile_cases,
    mqtt_cases,
    task_cases,
)
from sim.conformance.cloud.bench import SUITE, CloudBench, CloudTarget, Identity

__all__ = ["SUITE", "CloudBench", "CloudTarget", "Identity"]
_MODULES = (activation_cases, mqtt_cases, task_cases, firmware_cases, console_cases, hostile_cases)
