"""What a run needs of its cloud, and the cloud of somebody else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cloudsdk.errors import UsageError
from cloudsdk.tls import TlsSettings
from sim.scenario.errors import ScenarioRunError
from sim.scenario.models import Foreign

KEY_VARIABLE: Final = "CLOUDSIM_PRODUCT_KEY"


@dataclass(frozen=True, slots=True)
class ProductIdentity:
    """The ProductID and ProductKey of a population."""

    product_id: str
    product_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where devices go. `products` is by population."""

    activation_url: str
    mqtt_url: str
    products: Mapping[str, ProductIdentity]
    tls: TlsSettings = field(default_factory=TlsSettings)


class RunCloud(Protocol):
    """The cloud of one run. All methods but `failure` may wait, and are for a thread of their own."""

    def start(self, populations: Mapping[str, Sequence[str]]) -> Endpoints:
        """Get ready for the serial numbers of each population. Raises `CloudSdkError`."""
        ...

    def create_task(self, population: str, package: bytes, version: str, sns: Sequence[str]) -> None:
        """Offer a package to some devices of a population. Raises `CloudSdkError`."""
        ...

    def failure(self) -> str | None:
        """Why there is no cloud any more, as far as is known."""
        ...

    def stop(self) -> None:
        """End what `start` began."""
        ...


class ForeignCloud:
    """A cloud that this program only connects to. Implements `RunCloud`."""

    def __init__(self, facts: Foreign, folder: Path, product_key: str | None) -> None:
        if not product_key:
            raise UsageError(f"the ProductKey of {facts.product_id} is missing: set {KEY_VARIABLE}")
        self._facts = facts
        self._key = product_key
        self._folder = folder

    def start(self, populations: Mapping[str, Sequence[str]]) -> Endpoints:
        facts = self._facts
        product = ProductIdentity(facts.product_id, self._key)
        tls = TlsSettings(
            ca=self._folder / facts.ca if facts.ca is not None else None, server_name=facts.server_name
        )
        return Endpoints(facts.activation_url, facts.mqtt_url, dict.fromkeys(populations, product), tls)

    def create_task(self, population: str, package: bytes, version: str, sns: Sequence[str]) -> None:
        raise ScenarioRunError("tasks of another cloud are made there")

    def failure(self) -> str | None:
        return None

    def stop(self) -> None:
        """Nothing was begun."""
