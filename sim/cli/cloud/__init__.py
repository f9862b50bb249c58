"""`cloudsim cloud`: the reference cloud on the command line.

While a server runs on the data directory, commands go to it; otherwise they work on the database themselves.
"""

import click

from sim.cli.cloud.account import account
from sim.cli.cloud.audit import audit
from sim.cli.cloud.device import device
from sim.cli.cloud.firmware import firmware
from sim.cli.cloud.log import log
from sim.cli.cloud.overview import overview
from sim.cli.cloud.product import product
from sim.cli.cloud.rekey import rekey
from sim.cli.cloud.serve import serve
from sim.cli.cloud.shell import shell
from sim.cli.cloud.task import task
from sim.cli.cloud.token import token


@click.group()
def cloud() -> None:
    """The reference cloud: serve it, and manage products, devices, firmware and OTA tasks."""


for _command in (serve, overview, account, token, product, device, firmware, task, log, shell, audit, rekey):
    cloud.add_command(_command)
