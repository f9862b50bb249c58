"""The operations over HTTP, for the command line and for tests: `AdminClient`."""

from sim.cloud.client.accounts import AccountCalls
from sim.cloud.client.consoles import ConsoleCalls
from sim.cloud.client.devices import DeviceCalls
from sim.cloud.client.firmware import FirmwareCalls
from sim.cloud.client.history import HistoryCalls
from sim.cloud.client.products import ProductCalls
from sim.cloud.client.tasks import TaskCalls

__all__ = ["AdminClient"]


class AdminClient(
    AccountCalls, ProductCalls, DeviceCalls, FirmwareCalls, TaskCalls, ConsoleCalls, HistoryCalls
):
    """`url` is the server's HTTP URL, `token` its admin token or an API token.

    Every method raises the `CloudError` that the cloud answers with, or `UnreachableError`.
    """
