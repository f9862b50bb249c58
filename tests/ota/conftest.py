"""Each codec as both implementations offer it, whichever of them this process has chosen."""

from types import ModuleType

import pytest
from codec_implementations import IMPLEMENTATIONS, codec


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def quicklz(request: pytest.FixtureRequest) -> ModuleType:
    return codec("quicklz", request.param)


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def fastlz(request: pytest.FixtureRequest) -> ModuleType:
    return codec("fastlz", request.param)


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def fnv(request: pytest.FixtureRequest) -> ModuleType:
    return codec("fnv", request.param)


@pytest.fixture(scope="session", params=["quicklz", "fastlz"])
def twins(request: pytest.FixtureRequest) -> tuple[ModuleType, ModuleType]:
    """The Python and the C implementation of one block codec."""
    return codec(request.param, "python"), codec(request.param, "c")
