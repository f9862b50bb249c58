"""What the dashboard shows over time."""

from fastapi import APIRouter

from sim.cloud.api.context import Authenticated
from sim.cloud.operations import Operations
from sim.cloud.shapes import OnlinePoint

router = APIRouter(prefix="/history", tags=["history"])


@router.get("/online")
async def online_history(
    call: Authenticated, product: str | None = None, since: int = 0
) -> list[OnlinePoint]:
    """How many devices were online; `since` is seconds since 1970."""
    return await call.run(Operations.online_history, product, since)
