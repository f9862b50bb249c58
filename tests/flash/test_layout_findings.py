"""Everything wrong with a layout is listed, not only the first thing."""

import pytest

from cloudsdk.ota.lint import Finding, Severity
from flash_images import boards
from sim.flash.facts import LayoutError
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import LayoutDraft, PartitionEntry, parse_draft
from sim.flash.placement import gaps

CHIP = FlashGeometry("chip", 0x08000000, 0x40000, 4096, 8, 8)
NOR = FlashGeometry("nor", 0, 0x100000, 4096, 256, 1)
SECTORS = FlashGeometry("chip", 0x08000000, 0x40000, 0x4000, 4, 4, regions=((8, 0x4000), (1, 0x20000)))


def rows(*entries: tuple[str, str, int, int]) -> tuple[PartitionEntry, ...]:
    return tuple(PartitionEntry(*entry) for entry in entries)


GOOD = rows(
    ("bootloader", "chip", 0, 0x10000),
    ("app", "chip", 0x10000, 0x30000),
    ("easyflash", "nor", 0, 0x4000),
    ("download", "nor", 0x4000, 0xFC000),
)


def findings(
    partitions: tuple[PartitionEntry, ...], devices: tuple[FlashGeometry, ...] = (CHIP, NOR)
) -> list[Finding]:
    return list(LayoutDraft("board", "", devices, partitions).findings())


def changed(name: str, *entry: tuple[str, str, int, int]) -> tuple[PartitionEntry, ...]:
    return tuple(row for row in GOOD if row.name != name) + rows(*entry)


def test_sound_layout_has_no_findings() -> None:
    assert findings(GOOD) == []


@pytest.mark.parametrize("name", boards.names())
def test_boards_of_the_package_have_no_errors(name: str) -> None:
    found = parse_draft(boards.text(name)).findings()
    assert [finding for finding in found if finding.severity is not Severity.WARNING] == []


def test_all_errors_are_there_at_once_and_come_first() -> None:
    partitions = rows(
        ("app", "chip", 0, 0x10000),
        ("app", "chip", 0xF000, 0x2000),
        ("data", "disk", 0, 1),
        ("a" * 24, "nor", 0xFF000, 0x2000),
        ("half", "nor", 0x800, 0x1000),
        ("none", "nor", 0x4000, 0),
    )
    found = findings(partitions)
    assert [finding.id for finding in found if finding.severity is Severity.ERROR] == [
        "partition-twice",
        "overlap",
        "device-unknown",
        "name-long",
        "outside",
        "unaligned",
        "length",
    ]
    order = [list(Severity).index(finding.severity) for finding in found]
    assert order == sorted(order)
    assert {finding.message for finding in found} >= {
        "partition 'app' overlaps 'app' on chip: 0x0000f000 to 0x00011000 and 0x00000000 to 0x00010000",
        "partition name 'aaaaaaaaaaaaaaaaaaaaaaaa' is longer than 23 characters: FAL would know it as "
        "'aaaaaaaaaaaaaaaaaaaaaaa'",
        "partition 'aaaaaaaaaaaaaaaaaaaaaaaa' (0x000ff000, 0x2000 bytes) reaches outside device 'nor' of "
        "0x100000 bytes",
        "partition 'half' (0x00000800, 0x1000 bytes) does not begin and end on an erase block of device "
        "'nor' (4096 bytes): erasing it erases 0x00000000 to 0x00002000",
        "no partition 'bootloader': nothing boots",
        "no partition 'download': no update can arrive",
        "no partition 'easyflash': the device cannot keep its identity",
        "nor: 0x00001800 to 0x000ff000 (0xfd800 bytes) belongs to no partition",
    }


@pytest.mark.parametrize(
    ("partitions", "devices", "severity", "identity", "message"),
    [
        (
            changed("app", ("firmware", "chip", 0x10000, 0x30000)),
            (CHIP, NOR),
            Severity.ERROR,
            "role-missing",
            "no partition 'app'",
        ),
        (
            changed("app", ("app", "chip", 0x10000, 0x20000)),
            (CHIP, NOR),
            Severity.NOTE,
            "gap",
            "chip: 0x00030000 to 0x00040000 (0x10000 bytes) belongs to no partition",
        ),
        (
            changed("download", ("download", "nor", 0x4000, 0x1000), ("x", "nor", 0x5000, 0xFB000)),
            (CHIP, NOR),
            Severity.WARNING,
            "download-small",
            "(0x1000 bytes) is smaller than 'app' (0x30000 bytes)",
        ),
        (
            changed("easyflash", ("easyflash", "nor", 0, 0x1000), ("x", "nor", 0x1000, 0x3000)),
            (CHIP, NOR),
            Severity.WARNING,
            "easyflash-small",
            "it needs 0x2000 bytes",
        ),
        (
            changed("easyflash", ("easyflash", "nor", 0, 0x3000), ("seventeen_letters", "nor", 0x3000, 4096)),
            (CHIP, NOR),
            Severity.WARNING,
            "name-unreachable",
            "a package names at most 16 characters",
        ),
        (
            rows(("bootloader", "chip", 0, 0x40000), *[(e.name, "nor", e.offset, e.length) for e in GOOD[2:]])
            + rows(("app", "flash", 0, 0x1000)),
            (CHIP, NOR, FlashGeometry("flash", 0, 0x1000, 0x1000, 256, 1)),
            Severity.WARNING,
            "app-not-mapped",
            "no processor can execute it there",
        ),
    ],
)  # fmt: skip
def test_finding_says_what_and_where(
    partitions: tuple[PartitionEntry, ...],
    devices: tuple[FlashGeometry, ...],
    severity: Severity,
    identity: str,
    message: str,
) -> None:
    found = [finding for finding in findings(partitions, devices) if finding.id == identity]
    assert found
    assert found[0].severity is severity
    assert message in found[0].message


def test_partition_may_not_begin_inside_a_larger_sector() -> None:
    partitions = changed("app", ("app", "chip", 0x10000, 0x20000), ("x", "chip", 0x30000, 0x10000))
    found = [finding.message for finding in findings(partitions, (SECTORS, NOR))]
    assert len(found) == 2
    assert "'x' (0x00030000, 0x10000 bytes) does not begin and end on an erase block" in found[1]
    assert "(131072 bytes): erasing it erases 0x00020000 to 0x00040000" in found[1]


def test_wrong_link_address_is_noticed() -> None:
    draft = LayoutDraft("board", "", (FlashGeometry("chip", 0x08010000, 0x40000, 4096, 8, 8), NOR), GOOD)
    (finding,) = draft.findings()
    assert finding.id == "link-address"
    assert "linked for 0x08010000, partition 'app' begins at 0x08020000" in finding.message


def test_wrong_devices_do_not_hide_the_rest() -> None:
    text = boards.text("iot-board").replace("block_size: 2048", "block_size: 2047")
    text = text.replace("offset: 0x00180000", "offset: 0x00180001")
    draft = parse_draft(text)
    assert [finding.id for finding in draft.findings() if finding.severity is Severity.ERROR] == [
        "geometry",
        "unaligned",
        "overlap",
    ]
    with pytest.raises(LayoutError, match="block_size 2047 does not divide"):
        draft.board()


def test_gaps_are_what_no_partition_covers() -> None:
    entries = rows(("b", "chip", 0x3000, 0x1000), ("a", "chip", 0x1000, 0x1000), ("c", "chip", 0x1800, 0x800))
    assert list(gaps(CHIP, entries)) == [(0, 0x1000), (0x2000, 0x3000), (0x4000, 0x40000)]
    assert list(gaps(CHIP, rows(("a", "chip", 0, 0x40000)))) == []
    assert list(gaps(CHIP, ())) == [(0, 0x40000)]
