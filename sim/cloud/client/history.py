"""What the dashboard shows: now, and over time."""

from typing import cast

from sim.cloud.client.http import ApiSession
from sim.cloud.shapes import OnlinePoint, OverviewInfo


class HistoryCalls(ApiSession):
    def overview(self) -> OverviewInfo:
        return cast(OverviewInfo, self._get("/overview"))

    def online_history(self, product: str | None = None, since: int = 0) -> list[OnlinePoint]:
        return cast(list[OnlinePoint], self._get("/history/online", product=product, since=since))
