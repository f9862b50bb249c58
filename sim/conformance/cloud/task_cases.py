"""OTA tasks: what is sent, to whom, when, and when no more (cloudsdk-protocol 3.1, 3.2, 9)."""

from typing import Final

from cloudsdk.datapoints import DataPoint, received
from cloudsdk.mqtt.packets import encode
from sim.conformance.case import Severity, expect, expect_equal
from sim.conformance.cloud.bench import SUITE, CloudBench, package

MAX_PACKET: Final = 2047  # bytes of a packet to the device (2.1)
VERSION: Final = "1.1"


@SUITE.case(
    "task-form", "A task message has all that a device needs", "cloudsdk-protocol 3.1", needs=["admin"]
)
def form(bench: CloudBench) -> None:
    """CloudSDK 2.0.0 follows a null pointer for each member that is missing."""
    identity = bench.fresh()
    data = package("app", "2.0.0")
    bench.new_task([identity], [data], VERSION)
    _, task = bench.offered(identity)
    expect_equal(task.version, VERSION, "task version")
    found = [(item.type, item.version, item.size) for item in task.firmware]
    expect_equal(found, [("app", "2.0.0", len(data))], "type, file_version and file_size")


@SUITE.case(
    "task-order",
    "Firmwares come in the order that the user chose",
    "platform 9.1, cloudsdk-protocol 3.1",
    needs=["admin"],
)
def order(bench: CloudBench) -> None:
    """The order of the array is the order of installation; `index` is not read."""
    identity = bench.fresh()
    names = ["filesystem", "app", "wifi_image"]
    bench.new_task([identity], [package(name, "1.0.0") for name in names])
    _, task = bench.offered(identity)
    expect_equal([item.type for item in task.firmware], names, "the order")


@SUITE.case(
    "task-one-point", "A task message holds one data point", "cloudsdk-protocol 2.3 item 1", needs=["admin"]
)
def one_point(bench: CloudBench) -> None:
    """A question in the same message would be answered in place of what follows."""
    identity = bench.fresh()
    bench.new_task([identity], [package()])
    device, _ = bench.offered(identity)
    device.drain(bench.settle)
    for message in device.messages:
        expect_equal(len(list(received(message.payload))), 1, "data points in one message:")


@SUITE.case(
    "task-packet-size",
    "No packet to the device has more than 2047 bytes",
    "cloudsdk-protocol 2.1",
    needs=["admin"],
)
def packet_size(bench: CloudBench) -> None:
    """The receive path of the original does not check the length: a longer one overruns its buffer. A cloud
    may refuse the task instead."""
    identity = bench.fresh()
    product_id = identity.product.product_id
    packages = [package(f"partition-{index:02}", "1.0.0-long-version-text", 64) for index in range(12)]
    firmware = [bench.admin.upload(product_id, data) for data in packages]
    try:
        bench.admin.create_task(product_id, VERSION, firmware, [identity.sn])
    except Exception:
        bench.new_task([identity], [package()])  # a shorter one is taken
    device = bench.serving(identity)
    device.report("0.0")
    device.drain(bench.settle)
    longest = max(len(encode(message)) for message in device.messages)
    expect(longest <= MAX_PACKET, f"packets of at most {MAX_PACKET} bytes", longest)


@SUITE.case(
    "task-while-online", "A new task reaches a device that is online", "platform 9.4", needs=["admin"]
)
def while_online(bench: CloudBench) -> None:
    """The cloud pushes it by MQTT; nobody waits for the next reboot."""
    identity = bench.fresh()
    device = bench.serving(identity)
    device.report("0.0")
    bench.without_task(device, "before there is a task")
    bench.new_task([identity], [package()])
    point = device.any_point((DataPoint.VERSION_QUERY, DataPoint.OTA_TASK))
    expect(point is not None, "1010 or 1012 after a task was made", "silence")
    if point is not None and point.dp == DataPoint.VERSION_QUERY:
        device.report("0.0")
        bench.task_of(device)


@SUITE.case(
    "task-after-reboot",
    "An open task is sent again after each reboot",
    "cloudsdk-protocol 3.2",
    needs=["admin"],
)
def after_reboot(bench: CloudBench) -> None:
    """The device takes one firmware per message and resets; without the message again the set stays half."""
    identity = bench.fresh()
    bench.new_task([identity], [package("app"), package("filesystem")])
    credentials = bench.activate(identity)
    first, task = bench.offered(identity, credentials=credentials)
    first.vanish()
    _, again = bench.offered(identity, credentials=credentials)
    expect_equal(again.version, task.version, "again the task")


@SUITE.case(
    "task-question-behind",
    "A task is followed by 1010",
    "cloudsdk-protocol 3.2",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def question_behind(bench: CloudBench) -> None:
    """A device that has everything already stores the version in silence, and says so only when asked."""
    identity = bench.fresh()
    bench.new_task([identity], [package()])
    device, _ = bench.offered(identity)
    device.needs(DataPoint.VERSION_QUERY, "after a task")


@SUITE.case(
    "task-second-report",
    "A device that reports the task's version gets it no more",
    "cloudsdk-protocol 9",
    needs=["admin"],
)
def second_report(bench: CloudBench) -> None:
    """Each message more would be a download more for a device that compares otherwise."""
    identity = bench.fresh()
    bench.new_task([identity], [package()], VERSION)
    credentials = bench.activate(identity)
    bench.offered(identity, credentials=credentials)[0].vanish()
    for _ in range(2):
        device = bench.serving(identity, credentials)
        device.report(VERSION)
        bench.without_task(device, "after the report of its version")
        device.vanish()


@SUITE.case(
    "task-once-per-connection",
    "A repeated report repeats no task",
    "cloudsdk-protocol 3.2",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def once(bench: CloudBench) -> None:
    """A task during a download replaces the data of the one that runs."""
    identity = bench.fresh()
    bench.new_task([identity], [package()])
    device, _ = bench.offered(identity)
    device.report("0.0")
    device.drain(bench.settle)
    expect_equal(device.count(DataPoint.OTA_TASK), 1, "task messages on one connection:")


@SUITE.case("task-for-others", "A task goes to its devices only", "platform 9.3", needs=["admin"])
def for_others(bench: CloudBench) -> None:
    """A device list is how an engineer tries a firmware on one board first."""
    identity = bench.fresh()
    other = bench.add_device(identity.product)
    bench.new_task([identity], [package()])
    device = bench.serving(other)
    device.report("0.0")
    bench.without_task(device, "for a device that is not in its list")


@SUITE.case(
    "task-cancelled", "A cancelled task is sent no more", "threats: cancel then update", needs=["admin"]
)
def cancelled(bench: CloudBench) -> None:
    """Cancelling is how a bad firmware is stopped."""
    identity = bench.fresh()
    task = bench.new_task([identity], [package()])
    bench.admin.cancel_task(task)
    device = bench.serving(identity)
    device.report("0.0")
    bench.without_task(device, "after it was cancelled")


@SUITE.case(
    "task-cancel-then-update",
    "After a cancelled task the next one is sent",
    "threats: cancel then update",
    needs=["admin"],
)
def cancel_then_update(bench: CloudBench) -> None:
    """The good firmware follows the bad one."""
    identity = bench.fresh()
    bad = bench.new_task([identity], [package(version="2.0.0")], "1.1")
    bench.admin.cancel_task(bad)
    bench.new_task([identity], [package(version="2.0.1")], "1.2")
    _, task = bench.offered(identity)
    expect_equal(task.version, "1.2", "the second task")
