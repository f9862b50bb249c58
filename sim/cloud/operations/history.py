"""What the dashboard shows over time."""

from sim.cloud.errors import BadRequestError
from sim.cloud.model import history
from sim.cloud.model.text import is_int
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import OnlinePoint

_LATEST = 2**62  # seconds since 1970 that every database can hold


class HistoryOperations(BaseOperations):
    def online_history(self, product: str | None = None, since: int = 0) -> list[OnlinePoint]:
        """How many devices were online, of a product or of all: every minute of the last 48 hours, every
        hour of the year before. `since` is seconds since 1970."""
        if not is_int(since) or not 0 <= since < _LATEST:
            raise BadRequestError("since must be seconds since 1970")
        with self._look(Scope.READ) as work:
            return history.online_history(work, product, since)
