"""What goes on, at a glance."""

from sim.cloud.web.layout import heading
from sim.cloud.web.visit import Visit


async def build(visit: Visit) -> None:
    heading(visit, visit.t("dashboard.title"))
