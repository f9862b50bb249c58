"""What a caller can do, one transaction each: the web console, the API and the command line all come here."""

from sim.cloud.operations.accounts import AccountOperations
from sim.cloud.operations.base import Core
from sim.cloud.operations.devices import DeviceOperations
from sim.cloud.operations.firmware import FirmwareOperations
from sim.cloud.operations.history import HistoryOperations
from sim.cloud.operations.logs import LogOperations
from sim.cloud.operations.overview import OverviewOperations
from sim.cloud.operations.products import ProductOperations
from sim.cloud.operations.tasks import TaskOperations

__all__ = ["Core", "Operations"]


class Operations(
    AccountOperations,
    ProductOperations,
    DeviceOperations,
    FirmwareOperations,
    TaskOperations,
    LogOperations,
    HistoryOperations,
    OverviewOperations,
):
    """Use it from one thread at a time. `client.AdminClient` has the same methods over HTTP.

    A product is named by its ProductID or its name, a device by its DeviceID or its SN. Results are the
    dictionaries of `shapes`.
    """
