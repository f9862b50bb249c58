"""Cases for bootloaders that run on flash images."""

from sim.conformance.bootloader import install_cases, refusal_cases
from sim.conformance.bootloader.bench import SUITE, BootBench, BootTarget, launcher

__all__ = ["SUITE", "BootBench", "BootTarget", "launcher"]
_MODULES = (install_cases, refusal_cases)
