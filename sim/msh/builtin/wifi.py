"""The WLAN from the shell (console 8)."""

from collections.abc import Iterator, Sequence
from typing import Final

from cloudsdk import console
from sim.msh.commands import Command, Context, command, take
from sim.msh.kprintf import warning
from sim.msh.network import AccessPoint, JoinResult

SCAN_MS: Final = 2000
JOIN_MS: Final = 1000
_TAG: Final = "WLAN.mgnt"
_USAGE: Final = (
    "wifi\nwifi help\nwifi scan\nwifi join [SSID] [PASSWORD]\nwifi ap SSID [PASSWORD]\nwifi disc\n"
    "wifi ap_stop\nwifi status\nwifi smartconfig\n"
)
_TITLE: Final = (
    "             SSID                      MAC            security    rssi chn Mbps\n"
    "------------------------------- -----------------  -------------- ---- --- ----\n"
)


@command("wifi", "wifi command.")
def wifi(context: Context, arguments: Sequence[str]) -> Iterator[int]:
    """Access points are not simulated: `ap`, `ap_stop` and `smartconfig` do nothing."""
    match take(arguments, 1):
        case "scan":
            yield from _scan(context)
        case "join":
            yield from _join(context, take(arguments, 2), take(arguments, 3))
        case "disc":
            context.board.network.leave()
            context.write("wifi link down\r\n")
            context.write(console.info(_TAG, "disconnect success!"))
        case "status":
            _status(context)
        case "ap" | "ap_stop" | "smartconfig":
            return
        case _:
            context.write(_USAGE)


def _mac(access_point: AccessPoint) -> str:
    return ":".join(f"{byte:02x}" for byte in access_point.mac)


def _scan(context: Context) -> Iterator[int]:
    yield SCAN_MS
    found = context.board.network.scan()
    if not found:
        context.write("wifi scan result is null\n")
        return
    context.write(_TITLE)
    for each in sorted(found, key=lambda each: -each.rssi):
        context.kprintf(
            "%-32.32s%s  %-14.14s %-4d %3d %4d\n",
            each.ssid,
            _mac(each),
            each.security.value,
            each.rssi,
            each.channel,
            each.rate,
        )


def _join(context: Context, ssid: str | None, password: str | None) -> Iterator[int]:
    network = context.board.network
    ssid = ssid or network.stored_ssid
    if ssid is None:
        context.write("not find info\n")
        context.write(console.error(_TAG, "F:rt_wlan_connect L:944 ssid is null!"))
        return
    context.kprintf("join ssid:%s\r\n", ssid)
    yield SCAN_MS
    match network.join(ssid, password):
        case JoinResult.JOINED:
            yield JOIN_MS
            context.write(console.info(_TAG, f"wifi connect success ssid:{ssid}"))
            context.board.wlan_ready()
        case JoinResult.ALREADY:
            context.write(console.info(_TAG, f"wifi is connect ssid:{ssid}"))
        case JoinResult.NOT_FOUND:
            context.write(warning(_TAG, f"F:rt_wlan_connect L:972 not find ap! ssid:{ssid}"))
        case JoinResult.REFUSED:
            yield JOIN_MS
            context.kprintf("join ssid %s failed! error code: %d\n", ssid, -1)
            context.write(console.info(_TAG, "wifi connect failed!"))


def _status(context: Context) -> None:
    joined = context.board.network.joined
    if joined is None:
        context.write("wifi disconnected!\n")
    else:
        context.write(
            f"Wi-Fi STA Info\nSSID : {joined.ssid}\nMAC Addr: {_mac(joined)}\nChannel: {joined.channel}\n"
            f"DataRate: {joined.rate}Mbps\nRSSI: {joined.rssi}\n"
        )
    context.write("wifi ap not start!\nAuto Connect status:Enable!\n")


def wwd_bus_command() -> Command:
    """`wwd_bus` with its own switch."""
    on = 0

    @command("wwd_bus", "enable/disable wwd bus")
    def wwd_bus(context: Context, arguments: Sequence[str]) -> None:
        nonlocal on
        on ^= 1
        context.kprintf("wwd bus log=>%d\n", on)

    return wwd_bus
