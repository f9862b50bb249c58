"""Packages that are old, forged, mislabelled or damaged: docs/threats.md, packages."""

import zlib
from dataclasses import replace

import pytest
from threat_world import APP, FILES, GREATER, HOUR, Threat, fault, http

from cloudsdk.limits import Limits
from cloudsdk.ota.attempts import Attempts
from cloudsdk.ota.header import HEADER_SIZE, Compression, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.version import is_older
from cloudsdk.profile import MANUAL, V2_0_0
from sim.virtual import upgrades
from sim.virtual.clock import SECOND
from sim.virtual.faults import Kind
from sim.virtual.releases import Release, Task
from sim.virtual.world import Order

REFUSED = "refused!"
NOT_INSTALLED = "is not installed !"


def single(package: bytes, version: str = "1.1", **changes: object) -> Task:
    """A task of one package; `changes` make its element lie."""
    return Task(version, (Release(package, "/fw/one.rbl"),), tuple(changes.items()))


def forged(package: bytes, **fields: object) -> bytes:
    """The package with other header fields and a right header CRC."""
    header = replace(RblHeader.unpack(package), **fields).with_crc()  # type: ignore[arg-type]
    return header.pack() + package[HEADER_SIZE:]


def resealed(package: bytes) -> bytes:
    """The package with a CRC that fits its body, whatever that is."""
    return forged(package, body_crc32=zlib.crc32(package[HEADER_SIZE:]))


def tries(threat: Threat) -> int:
    return len(threat.requests)


# --- rollback -------------------------------------------------------------------------------------------


def test_rollback_an_older_package_is_installed_since_the_protocol_has_no_order() -> None:
    threat = Threat(tasks=(upgrades.previous(),)).run()
    assert threat.reported == "0.9"
    assert threat.holds(upgrades.previous().releases)


def test_rollback_is_refused_and_reported_by_policy() -> None:
    threat = Threat(tasks=(upgrades.previous(),), refuse_downgrade=True).run()
    assert threat.requests == []
    assert threat.failed
    assert threat.console("app 0.9.0 is older than 1.0.0 !")
    assert threat.keeps_old_application()
    assert threat.reported == "0.0"


def test_rollback_of_one_firmware_refuses_the_whole_set() -> None:
    mixed = Task("1.1", (APP, upgrades.app_release("0.9.0")))
    threat = Threat(tasks=(mixed,), refuse_downgrade=True).run()
    assert threat.requests == []
    assert threat.keeps_old_application()


def test_rollback_policy_refuses_what_cannot_be_compared() -> None:
    nightly = single(upgrades.app_release("2.0.0").package, file_version="nightly")
    threat = Threat(tasks=(nightly,), refuse_downgrade=True).run()
    assert threat.requests == []
    assert threat.console("app nightly cannot be compared with 1.0.0 !")


def test_rollback_that_is_refused_does_not_disturb_the_download_under_way() -> None:
    orders = (Order(SECOND, GREATER), Order(2 * SECOND + SECOND // 2, upgrades.previous()))
    threat = Threat(http(fault(Kind.BANDWIDTH, 1000)), orders=orders, refuse_downgrade=True)
    threat.world.device.power_on()
    assert threat.world.run_until(lambda: threat.world.device.boots == 2, HOUR)
    assert threat.console(REFUSED) >= 1
    assert threat.holds([APP])


def test_policy_against_rollback_lets_newer_versions_through() -> None:
    assert Threat(refuse_downgrade=True).run().is_upgraded()


@pytest.mark.parametrize(
    ("offered", "installed", "older"),
    [
        ("1.0", "1.0.0", False),
        ("v1.2.1", "1.2.2", True),
        ("1.10", "1.9", False),
        ("2", "10", True),
        ("1.0-rc1", "1.0", None),
        ("", "1.0", None),
        ("1..0", "1.0", None),
        ("\u0661.0", "1.0", None),
    ],
)
def test_order_of_versions(offered: str, installed: str, older: bool | None) -> None:
    assert is_older(offered, installed) is older


def test_rollback_under_a_new_label_never_reaches_the_bootloader() -> None:
    old = upgrades.app_release("0.9.0").package
    threat = Threat(tasks=(single(old, file_version="2.0.0"),)).run()
    assert threat.failed
    assert threat.console("The package is not app 2.0.0 !")
    assert threat.keeps_old_application()
    assert threat.world.device.boots == 1


def test_rollback_under_a_new_label_is_installed_by_v2_0_0() -> None:
    old = upgrades.app_release("0.9.0").package
    threat = Threat(tasks=(single(old, file_version="2.0.0"),), profile=V2_0_0)
    threat.world.device.power_on()
    assert threat.world.run_until(lambda: threat.world.device.boots == 2, HOUR)
    app = threat.installed("app")
    assert app is not None
    assert app.version_text == "0.9.0"


# --- freeze, mix and match ------------------------------------------------------------------------------


def test_freeze_is_noticed_and_reported_after_some_equal_answers() -> None:
    threat = Threat(tasks=(upgrades.same(),)).run()
    assert threat.console("times unchanged !") == 0
    threat.world.cloud.on_report = lambda _: threat.world.cloud.send(upgrades.same().message)
    for _ in range(Limits().frozen_after):
        threat.world.cloud.send(b'{"data":[{"DP":1010}]}')
        threat.world.run_for(SECOND)
    assert threat.console(f"(1.0) came {Limits().frozen_after} times unchanged !") == 1


def test_mix_and_match_version_is_reported_only_when_the_set_is_complete() -> None:
    broken = Release(upgrades.damaged(FILES.package), FILES.path)
    threat = Threat(tasks=(Task("1.1", (APP, broken)),)).run()
    assert threat.holds([APP])
    assert threat.installed("filesystem") is None
    assert set(threat.world.cloud.reports) == {"0.0"}
    assert threat.failed


def test_mix_and_match_order_of_the_set_is_kept() -> None:
    threat = Threat().run()
    assert [request.url for request in threat.requests] == [APP.url, FILES.url]
    assert list(dict.fromkeys(threat.world.cloud.reports)) == ["0.0", "1.1"]


# --- wrong packages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nosuch", "filesystem", "bootloader"])
def test_wrong_partition_name_is_refused_and_no_target_touched(name: str) -> None:
    package = upgrades.package(name, "2.0.0", upgrades.application("2.0.0"))
    threat = Threat(tasks=(single(package, type="app"),)).run()
    assert threat.failed
    assert threat.console("The package is not app 2.0.0 !")
    assert threat.keeps_old_application()
    assert threat.installed("filesystem") is None
    threat.world.device.power_off()
    threat.world.run_for(60 * SECOND)
    assert threat.keeps_old_application()
    assert threat.installed("filesystem") is None


def test_partition_that_the_board_does_not_have_is_refused_by_the_bootloader() -> None:
    package = upgrades.package("nosuch", "2.0.0", upgrades.application("2.0.0"))
    threat = Threat(tasks=(single(package),)).run()
    assert threat.console("The partition nosuch was not found")
    assert threat.failed
    assert set(threat.world.cloud.reports) == {"0.0"}


def test_wrong_product_is_refused_by_the_bootloader_and_the_old_firmware_boots() -> None:
    elsewhere = bytearray(upgrades.application("2.0.0"))
    elsewhere[12:16] = (0x20000000).to_bytes(4, "little")  # linked for another part
    threat = Threat(tasks=(single(upgrades.package("app", "2.0.0", bytes(elsewhere))),)).run()
    assert threat.console("must link to the flash 64KB location!")
    check_refused_installation(threat)


@pytest.mark.parametrize(
    "keys", [PackageKeys(key=b"W" * 32), PackageKeys(iv=b"w" * 16)], ids=["wrong key", "wrong iv"]
)
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.QUICKLZ])
def test_wrong_key_or_iv_boots_the_old_firmware(keys: PackageKeys, compression: Compression) -> None:
    raw = upgrades.application("2.0.0")
    package = upgrades.package("app", "2.0.0", raw, keys=keys, compression=compression)
    threat = Threat(tasks=(single(package),)).run()
    check_refused_installation(threat)


@pytest.mark.parametrize("compression", [Compression.QUICKLZ, Compression.FASTLZ])
def test_corrupt_compressed_stream_boots_the_old_firmware(compression: Compression) -> None:
    raw = upgrades.application("2.0.0")
    package = upgrades.package("app", "2.0.0", raw, compression=compression)
    for position in range(HEADER_SIZE + 8, HEADER_SIZE + 900, 211):
        torn = package[:position] + bytes([package[position] ^ 0x5A]) + package[position + 1 :]
        check_refused_installation(Threat(tasks=(single(resealed(torn)),)).run())


def check_refused_installation(threat: Threat) -> None:
    """The bootloader refused it as often as it was tried, and nobody was told otherwise."""
    limit = Limits().installations
    assert threat.keeps_old_application()
    assert set(threat.world.cloud.reports) == {"0.0"}
    assert threat.console(NOT_INSTALLED) == limit
    assert tries(threat) == limit
    assert threat.console(REFUSED) >= 1
    assert threat.failed


def test_refused_package_is_counted_over_power_cycles() -> None:
    threat = Threat(tasks=(upgrades.wrong_key(),)).run()
    before = tries(threat)
    threat.world.device.power_off()
    threat.world.cloud.offer(upgrades.wrong_key())
    assert threat.world.run_until(lambda: threat.world.is_settled)
    assert tries(threat) == before == Limits().installations


def test_refused_package_does_not_stop_the_next_task() -> None:
    threat = Threat(tasks=(upgrades.wrong_key(),)).run()
    threat.world.cloud.offer(GREATER)
    assert threat.world.run_until(lambda: threat.world.is_settled)
    assert threat.reported == "1.1"
    assert threat.holds(GREATER.releases)


def test_refused_package_falls_back_to_the_version_before() -> None:
    orders = (Order(SECOND, GREATER), Order(120 * SECOND, upgrades.wrong_key("3.0.0")))
    threat = Threat(orders=orders).run()
    assert threat.holds(GREATER.releases)
    reports = threat.world.cloud.reports
    assert set(reports[reports.index("1.1") :]) == {"1.1"}
    assert threat.failed


def test_v2_0_0_reports_a_package_that_the_bootloader_refused() -> None:
    threat = Threat(tasks=(upgrades.wrong_key(),), profile=V2_0_0).run()
    assert threat.reported == "6.7"
    assert threat.keeps_old_application()


@pytest.mark.parametrize(
    "fields",
    [{"body_size": 16}, {"body_size": 1 << 20}, {"raw_size": 16}, {"raw_size": 32}],
    ids=["tiny body", "body beyond the package", "tiny firmware", "more body than firmware"],
)
def test_sizes_that_hang_or_crash_the_bootloader_never_reach_it(fields: dict[str, int]) -> None:
    raw = upgrades.application("2.0.0")
    package = forged(upgrades.package("app", "2.0.0", raw), **fields)
    size = min(fields.get("body_size", len(package)), len(package) - HEADER_SIZE)
    package = forged(package, body_crc32=zlib.crc32(package[HEADER_SIZE : HEADER_SIZE + size]))
    threat = Threat(tasks=(single(package),)).run()
    assert threat.failed
    threat.world.device.power_off()
    threat.world.run_for(60 * SECOND)
    assert threat.world.device.is_idle
    assert threat.keeps_old_application()


@pytest.mark.parametrize("extra", [1, 16, 4000])
def test_extra_bytes_behind_the_package_change_nothing(extra: int) -> None:
    padded = Release(APP.package + bytes(extra), APP.path)
    threat = Threat(tasks=(Task("1.1", (padded,)),)).run()
    assert threat.reported == "1.1"
    assert threat.holds([APP])


def test_payload_swapped_between_verification_and_boot_is_refused_and_fetched_again() -> None:
    threat = Threat()
    device = threat.world.device

    def swap(_status: object) -> None:
        if len(device.port.ends) == 1:
            device.board.partition("download").write(HEADER_SIZE + 200, bytes(64))

    device.port.on_end = swap
    threat.run()
    assert threat.console("Verify firmware CRC32") == 1
    assert [request.url for request in threat.requests] == [APP.url, APP.url, FILES.url]
    assert threat.reported == "1.1"
    assert threat.holds(GREATER.releases)


def test_retries_of_the_network_are_no_attempts_to_install() -> None:
    threat = Threat(http(*[fault(Kind.UNAVAILABLE)] * 6), profile=MANUAL).run()
    assert threat.is_upgraded()


@pytest.mark.parametrize("text", [None, "", "x", "[]", '["app","1",2,3]', '["a","b","c","d"]', "[" * 9999])
def test_spoiled_count_of_attempts_counts_as_none(text: str | None) -> None:
    assert Attempts.parse(text) is None
