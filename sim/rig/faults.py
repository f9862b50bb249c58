"""Faults that a test puts on its devices: on their network, in their flash."""

from sim.faults.network import FaultRule, FaultSet, parse_fault
from sim.flash.faults import BadBlock, FaultPlan, StuckBits
from sim.rig.device import RigDevice


class RigFaults:
    """Network faults hold for every device of the test, also for those to come.

    `seed` draws what happens; the Nth connection of a link meets the same in every run.
    """

    def __init__(self) -> None:
        self._set = FaultSet()
        self._devices: list[RigDevice] = []

    @property
    def rules(self) -> tuple[FaultRule, ...]:
        return self._set.rules

    def add(self, *faults: str | FaultRule) -> None:
        """Faults such as `"http:reset@1KB..50KB"` (docs/network-faults.md), besides those there are.

        Raises `FaultSpecError`, and `NotAvailableError` where a device cannot have them.
        """
        rules = tuple(parse_fault(fault) if isinstance(fault, str) else fault for fault in faults)
        self._change(FaultSet(self._set.rules + rules, self._set.seed))

    def clear(self) -> None:
        """The network is good again; what was broken stays broken."""
        self._change(FaultSet((), self._set.seed))

    @property
    def seed(self) -> int:
        return self._set.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._change(FaultSet(self._set.rules, seed))

    def flash(self, device: RigDevice, partition: str, *faults: BadBlock | StuckBits) -> None:
        """Give the flash under a partition these faults, in the place of those it had; without any, none.

        Their offsets count from the start of the partition. Raises `PartitionNameError` and `FaultPlanError`.
        For faults of a whole part use `device.board.partitions.devices[NAME].inject`.
        """
        found = device.board.partition(partition)
        bad = tuple(
            BadBlock(found.offset + each.offset, each.actions, each.failure)
            for each in faults
            if isinstance(each, BadBlock)
        )
        stuck = tuple(
            StuckBits(found.offset + each.offset, each.mask, each.value)
            for each in faults
            if isinstance(each, StuckBits)
        )
        plan = FaultPlan(bad_blocks=bad, stuck=stuck) if faults else None
        device.board.partitions.devices[found.device_name].inject(plan)

    def attach(self, device: RigDevice) -> None:
        """A device that has these faults from now on."""
        if self._set.rules:
            device.set_faults(self._set)
        self._devices.append(device)

    def _change(self, faults: FaultSet) -> None:
        for device in self._devices:
            device.set_faults(faults)
        self._set = faults
