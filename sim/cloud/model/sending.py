"""The messages that carry tasks to devices (cloudsdk-protocol 3.1)."""

from urllib.parse import quote

from cloudsdk.datapoints import Topics
from cloudsdk.ota.task import MAX_URL
from sim.cloud.errors import TaskTooLargeError
from sim.cloud.messages import MAX_PACKET, Outgoing, TaskItem, task_message
from sim.cloud.model.tables import Device, Task
from sim.cloud.model.transfers import download_token
from sim.cloud.model.work import Work


def topics_of(device: Device) -> Topics:
    return Topics(device.product.product_id, device.device_id)


def make_message(work: Work, base_url: str, task: Task, device: Device) -> Outgoing:
    """The 1012 message of the task for the device. Raises `TaskTooLargeError` for a URL it cannot hold."""
    items = []
    for row in task.firmware:
        firmware = row.firmware
        token = download_token(work, device, firmware)
        url = f"{base_url}/fw/{token}/{quote(firmware.name, safe='')}.rbl"
        if len(url) > MAX_URL:
            raise TaskTooLargeError(
                f"a firmware URL of {len(url)} characters is too long for the device ({MAX_URL}): "
                "use a shorter --public-url"
            )
        items.append(TaskItem(firmware.name, firmware.version, url, task.mode, firmware.file_size))
    return task_message(topics_of(device), task.created_at, task.version, items)


def check_message(message: Outgoing, count: int) -> None:
    """Raises `TaskTooLargeError` when the device cannot receive it (2.1); `count` firmwares are in it."""
    if message.packet_size > MAX_PACKET:
        raise TaskTooLargeError(
            f"the task message with {count} firmwares takes {message.packet_size} bytes, the device receives "
            f"{MAX_PACKET}: use fewer firmwares or a shorter --public-url"
        )
