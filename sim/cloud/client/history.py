"""What the dashboard shows over time."""

from typing import cast

from sim.cloud.client.http import ApiSession
from sim.cloud.shapes import OnlinePoint


class HistoryCalls(ApiSession):
    def online_history(self, product: str | None = None, since: int = 0) -> list[OnlinePoint]:
        return cast(list[OnlinePoint], self._get("/history/online", product=product, since=since))
