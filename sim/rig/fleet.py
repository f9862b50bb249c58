"""Several devices that do the same at the same time."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar, overload

from sim.rig.device import RigDevice
from sim.rig.transcript import ExpectationError

MAX_THREADS: Final = 32  # that wait for consoles
_SHOWN: Final = 3  # devices whose error is told in full

_Result = TypeVar("_Result")


class RigFleet(Sequence[RigDevice]):
    """Acts on all of its devices at once; what is returned is in their order.

    When some of them fail, the others still finish; then `ExpectationError` tells which failed.
    """

    def __init__(self, devices: Sequence[RigDevice]) -> None:
        self._devices = tuple(devices)

    @overload
    def __getitem__(self, index: int) -> RigDevice: ...

    @overload
    def __getitem__(self, index: slice) -> "RigFleet": ...

    def __getitem__(self, index: int | slice) -> "RigDevice | RigFleet":
        found = self._devices[index]
        return RigFleet(found) if isinstance(found, tuple) else found

    def __len__(self) -> int:
        return len(self._devices)

    def each(self, action: Callable[[RigDevice], _Result]) -> list[_Result]:
        """`action` for every device. In virtual time one after the other: that takes no time."""
        __tracebackhide__ = True
        if any(device.clock.is_virtual for device in self._devices):
            return _results(self._devices, [_called(action, device) for device in self._devices])
        with ThreadPoolExecutor(min(MAX_THREADS, len(self._devices) or 1), "fleet") as pool:
            running = [pool.submit(action, device) for device in self._devices]
            try:
                return _results(self._devices, running)
            except KeyboardInterrupt:
                for device in self._devices:  # whoever waits for a console waits no longer
                    device.console.close("the run was interrupted")
                raise

    def power_on(self) -> None:
        self.each(lambda device: device.power_on())

    def power_off(self) -> None:
        self.each(lambda device: device.power_off())

    def installed(self, partition: str = "app") -> list[str | None]:
        return [device.installed(partition) for device in self._devices]

    def expect(self, wanted: "str | re.Pattern[str]", timeout: float | None = None) -> list[re.Match[str]]:
        __tracebackhide__ = True
        return self.each(lambda device: device.expect(wanted, timeout))

    def expect_log(
        self, tag: str, text: str, *, level: str = "I", timeout: float | None = None
    ) -> list[re.Match[str]]:
        __tracebackhide__ = True
        return self.each(lambda device: device.expect_log(tag, text, level=level, timeout=timeout))

    def run(self, command: str, timeout: float | None = None) -> list[str]:
        __tracebackhide__ = True
        return self.each(lambda device: device.run(command, timeout))


def _called(action: Callable[[RigDevice], _Result], device: RigDevice) -> "Future[_Result]":
    done: Future[_Result] = Future()
    try:
        done.set_result(action(device))
    except Exception as exc:  # told with those of the others
        done.set_exception(exc)
    return done


def _results(devices: Sequence[RigDevice], running: "Sequence[Future[_Result]]") -> list[_Result]:
    __tracebackhide__ = True
    errors = [
        (device, error)
        for device, each in zip(devices, running, strict=True)
        if (error := each.exception()) is not None
    ]
    if errors:
        told = "\n".join(str(error) for _, error in errors[:_SHOWN])
        names = ", ".join(device.sn for device, _ in errors)
        raise ExpectationError(
            f"{len(errors)} of {len(devices)} devices failed ({names}):\n{told}"
        ) from errors[0][1]
    return [each.result() for each in running]
