"""A real cloud: devices reach it by its URLs, and an admin of the user's own gives it tasks."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from cloudsdk.ota.task import UpgradeMode
from cloudsdk.port import Port
from cloudsdk.profile import Profile
from sim.board import Board
from sim.rig.clock import WallClock
from sim.rig.cloud import Progress, RigCloud
from sim.rig.device import RigDevice
from sim.rig.errors import CloudAdminError
from sim.rig.live_device import LiveDevice


@dataclass(frozen=True, slots=True)
class CloudSite:
    """Where a cloud is, and the product whose devices are tested."""

    activation_url: str
    mqtt_url: str
    product_id: str
    product_key: str = field(repr=False)


class CloudAdmin(Protocol):
    """What a test needs of a real cloud's administration. Made by a function of a `CloudSite`."""

    def register(self, sn: str) -> None:
        """Enter a device. Called for serial numbers that come from no identities file."""
        ...

    def upgrade(
        self, sns: Sequence[str], packages: Sequence[Path], version: str | None, mode: UpgradeMode
    ) -> Any:
        """Create a task of `.rbl` files in this order; returns what `progress` is to be asked with."""
        ...

    def progress(self, task: Any, sn: str) -> str:
        """`"open"`, `"done"` or `"failed"`. Called often."""
        ...


def load_admin(name: str, site: CloudSite) -> CloudAdmin:
    """What the factory `name`, `module:function`, makes for a site. Raises `CloudAdminError`."""
    module, colon, function = name.partition(":")
    if not module or not colon or not function:
        raise CloudAdminError(f"{name!r} is not module:function")
    try:
        factory: Callable[[CloudSite], CloudAdmin] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as exc:
        raise CloudAdminError(f"cannot load {name!r}: {exc}") from exc
    admin = factory(site)
    missing = [each for each in ("upgrade", "progress") if not callable(getattr(admin, each, None))]
    if missing:
        raise CloudAdminError(f"what {name!r} makes has no method {' and no '.join(missing)}")
    return admin


class RemoteCloud(RigCloud):
    """Without an `admin`, devices can come and go but not be upgraded. `known` are serial numbers that the
    cloud has already."""

    def __init__(self, site: CloudSite, admin: CloudAdmin | None, known: frozenset[str]) -> None:
        super().__init__(WallClock())
        self.site = site
        self._admin = admin
        self._known = known

    @property
    def admin(self) -> CloudAdmin:
        """Raises `CloudAdminError` without one."""
        if self._admin is None:
            raise CloudAdminError(
                "nobody can tell this cloud what to do: set cloudsim_cloud_admin = module:function "
                "(docs/pytest.md)"
            )
        return self._admin

    def register(self, sn: str) -> Port:
        if sn not in self._known:
            if not callable(getattr(self._admin, "register", None)):
                raise CloudAdminError(
                    f"the cloud may not know SN {sn}: name those it has in cloudsim_identities, or give the "
                    "admin a method register"
                )
            self.admin.register(sn)
        site = self.site
        return Port(sn, site.product_id, site.product_key, site.activation_url, site.mqtt_url)

    def make_device(self, board: Board, port: Port, profile: Profile, **options: Any) -> LiveDevice:
        return LiveDevice(board, port, profile=profile, clock=self.clock, **options)

    def is_online(self, device: RigDevice) -> bool:
        """As far as the device itself can tell."""
        return device.online

    def start_upgrade(
        self, devices: Sequence[RigDevice], packages: Sequence[Path], version: str | None, mode: UpgradeMode
    ) -> Any:
        return self.admin.upgrade([device.sn for device in devices], packages, version, mode)

    def progress(self, task: Any, device: RigDevice) -> Progress:
        said = cast(object, self.admin.progress(task, device.sn))
        try:
            return Progress(str(said))
        except ValueError:
            raise CloudAdminError(
                f"the admin's progress is {said!r}, not one of {', '.join(Progress)}"
            ) from None
