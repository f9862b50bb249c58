"""The Web Log on a device's page (platform 6): the switch, the live view, the stored lines."""

import asyncio
from datetime import datetime
from typing import Final

from nicegui import background_tasks, context, ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.logs import LogFilter
from sim.cloud.web.choices import choice
from sim.cloud.web.formats import precise_moment
from sim.cloud.web.live import follow
from sim.cloud.web.notes import note_error, noted
from sim.cloud.web.tables import Column, Pager, Row, filter_input, table
from sim.cloud.web.terminal import plain_line
from sim.cloud.web.uploads import api_url
from sim.cloud.web.visit import Visit

LIVE_LINES: Final = 500  # shown at once
SWITCH_PATIENCE: Final = 8.0  # seconds to wait for the device after the switch was moved
COLUMNS: Final = (Column("at", "log.at"), Column("text", "log.text"))


async def build_log(visit: Visit, device_id: str) -> None:
    raise NotImplementedError
