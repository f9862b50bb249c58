"""The dashboard's numbers."""

from sim.cloud.model import overview
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import OverviewInfo


class OverviewOperations(BaseOperations):
    def overview(self) -> OverviewInfo:
        with self._look(Scope.READ) as work:
            return overview.overview(work)
