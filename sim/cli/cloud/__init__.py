"""`cloudsim cloud`: the reference cloud on the command line.

While a server runs on the data directory, commands go to it; otherwise they work on the database themselves.
"""

import click

from sim.cli.cloud.device import device
from sim.cli.cloud.firmware import firmware
from sim.cli.cloud.product import product
from sim.cli.cloud.serve import serve
from sim.cli.cloud.task import task


@click.group()
def cloud() -> None:
    """The reference cloud: serve it, and manage products, devices, firmware and OTA tasks."""


for _command in (serve, product, device, firmware, task):
    cloud.add_command(_command)
