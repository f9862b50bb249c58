"""One page in one browser: who looks at it, how they like it, and what it may call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from starlette.requests import Request

from sim.cloud.model.work import Caller
from sim.cloud.operations import Operations
from sim.cloud.service import Service
from sim.cloud.web.formats import moment
from sim.cloud.web.i18n import Translator
from sim.cloud.web.preferences import Preferences
from sim.cloud.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where devices find this cloud; `cloudsim device run` takes the first and the last."""

    activation_url: str
    http_url: str
    mqtt_url: str


@dataclass(frozen=True, slots=True)
class Cloud:
    """What pages know of the server they run in."""

    service: Service
    worker: Worker
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class Visit:
    cloud: Cloud
    caller: Caller
    preferences: Preferences
    request: Request
    t: Translator

    async def run(
        self, operation: Callable[Concatenate[Operations, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Carry out `operation`, a method of `Operations`, as who looks at the page."""
        operations = self.cloud.service.acting_as(self.caller)
        return await self.cloud.worker.run(operation, operations, *args, **kwargs)

    def parameter(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def moment(self, seconds: int | None) -> str:
        """A time of the cloud as the reader's clock shows it."""
        return moment(seconds, self.preferences.zone)
