"""How the cloud is: metrics for Prometheus, a health check, and the history of devices online."""

import asyncio
import logging
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sim.cloud.errors import CloudError
from sim.cloud.links import DeviceBroker
from sim.cloud.metrics import CONTENT_TYPE
from sim.cloud.model.history import HOUR, KEEP_MINUTES, MINUTE
from sim.cloud.responses import json_response
from sim.cloud.service import Service
from sim.cloud.worker import Worker

HEALTH_TIMEOUT: Final = 2.0  # seconds in which the database must answer
FRESH: Final = 1.0  # seconds for which numbers from the database are not asked for again
LAG_INTERVAL: Final = 0.5  # seconds between two looks at the event loop

_log = logging.getLogger(__name__)


class Monitoring:
    """`instance` identifies this run of the server to local tools."""

    def __init__(self, service: Service, worker: Worker, broker: DeviceBroker, instance: str) -> None:
        self._service = service
        self._worker = worker
        self._broker = broker
        self._instance = instance
        self._counted_at = float("-inf")
        self._counting = asyncio.Lock()
        service.metrics.watch_queue(lambda: worker.waiting)

    def routes(self) -> list[BaseRoute]:
        """`/healthz` and `/metrics`."""
        return [
            Route("/healthz", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]

    async def run(self) -> None:
        """Sample until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_loop())
            tasks.create_task(self._sample())

    async def _health(self, _request: Request) -> Response:
        database, broker = await self._database_problem(), self._broker.problem()
        parts = {"database": database or "ok", "broker": broker or "ok"}
        well = database is None and broker is None
        status = "ok" if well else "failing"
        return json_response({"status": status, "instance": self._instance, **parts}, 200 if well else 503)

    async def _database_problem(self) -> str | None:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT):
                await self._worker.look(self._service.core.store.check)
        except TimeoutError:
            return f"the database has not answered for {HEALTH_TIMEOUT:g} s"
        except CloudError as exc:
            return str(exc)
        return None

    async def _metrics(self, _request: Request) -> Response:
        async with self._counting:
            if time.monotonic() - self._counted_at >= FRESH:
                await self._worker.look(self._service.count_rows)
                self._counted_at = time.monotonic()
        return Response(self._service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            self._service.metrics.loop_lag.observe(max(loop.time() - due, 0.0))

    async def _sample(self) -> None:
        thinned = 0
        while True:
            now = self._service.core.now()
            try:
                await self._worker.event(self._service.sample_online, thinned)
                thinned = max(now - KEEP_MINUTES - HOUR, 0)
            except Exception as exc:  # the next minute is another chance
                _log.warning("the devices online are not noted: %s", exc)
            await asyncio.sleep(MINUTE - self._service.core.clock() % MINUTE)
