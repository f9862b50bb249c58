"""What the dashboard shows: now, and over time."""

from fastapi import APIRouter

from sim.cloud.api.context import Authenticated
from sim.cloud.operations import Operations
from sim.cloud.shapes import OnlinePoint, OverviewInfo

router = APIRouter(tags=["dashboard"])


@router.get("/overview")
async def overview(call: Authenticated) -> OverviewInfo:
    """Counts of what the caller sees."""
    return await call.run(Operations.overview)


@router.get("/history/online")
async def online_history(
    call: Authenticated, product: str | None = None, since: int = 0
) -> list[OnlinePoint]:
    """How many devices were online; `since` is seconds since 1970."""
    return await call.run(Operations.online_history, product, since)
