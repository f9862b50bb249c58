"""ifconfig, ping, dns, netstat, wget (console 8)."""

from collections.abc import Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from cloudsdk import console
from sim.msh.commands import Context, command
from sim.msh.files import resolve
from sim.msh.network import Interface, TcpConnection, TcpState

PING_REQUESTS: Final = 4
PING_PAUSE_MS: Final = 1000
PING_TIMEOUT_MS: Final = 2000
PING_LENGTH: Final = 60  # bytes: 32 of data with the headers of IP and ICMP
DOWNLOAD_BLOCK: Final = 1024  # bytes for which `wget` shows one `>`


@command("ifconfig", "list the information of all network interfaces")
def ifconfig(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) == 1:
        _show_interfaces(context)
    elif len(arguments) == 5:
        name, address, gateway, netmask = arguments[1:]
        context.kprintf("config : %s\n", name)
        context.kprintf("IP addr: %s\n", address)
        context.kprintf("Gateway: %s\n", gateway)
        context.kprintf("netmask: %s\n", netmask)
        if not all(map(_is_address, (address, gateway, netmask))) or not context.board.network.configure(
            name, address, gateway, netmask
        ):
            context.kprintf("bad network interface device name(%s).\n", name)
    else:
        context.write("bad parameter! e.g: ifconfig e0 192.168.1.30 192.168.1.1 255.255.255.0\n")


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _show_interfaces(context: Context) -> None:
    interfaces = context.board.network.interfaces
    netdev = context.board.kernel.style.has_netdev
    if not interfaces:
        context.write("ifconfig: network interface device list error.\n")
        return
    context.write("\n".join(_interface_text(each, netdev, each is interfaces[0]) for each in interfaces))
    if not netdev:
        context.write(_dns_lines(interfaces[0]))


def _interface_text(each: Interface, netdev: bool, default: bool) -> str:
    flags = (
        "UP" if each.up else "DOWN",
        "LINK_UP" if each.link_up else "LINK_DOWN",
        netdev and ("INTERNET_UP" if each.internet_up else "INTERNET_DOWN"),
        netdev and ("DHCP_ENABLE" if each.dhcp else "DHCP_DISABLE"),
        each.arp and "ETHARP",
        each.broadcast and "BROADCAST",
        each.igmp and "IGMP",
    )
    kind = "network interface device" if netdev else "network interface"
    return (
        f"{kind}: {each.name}{' (Default)' if default else ''}\n"
        f"MTU: {each.mtu}\n"
        f"MAC: {''.join(f'{byte:02x} ' for byte in each.mac)}\n"
        f"FLAGS: {' '.join(flag for flag in flags if flag)}\n"
        f"ip address: {each.address}\n"
        f"gw address: {each.gateway}\n"
        f"net mask  : {each.netmask}\n"
    ) + (_dns_lines(each) if netdev else "")


def _dns_lines(interface: Interface) -> str:
    return "".join(f"dns server #{number}: {server}\n" for number, server in enumerate(interface.dns))


@command("ping", "ping network host")
def ping(context: Context, arguments: Sequence[str]) -> Iterator[int]:
    network = context.board.network
    if len(arguments) == 1:
        context.write("Please input: ping <host address>\n")
        return
    if not network.interfaces:
        context.write("ping: network interface device get error.\n")
        return
    host = arguments[1]
    unit = "ms" if context.board.kernel.style.has_netdev else "ticks"
    for sequence in range(PING_REQUESTS):
        reply = network.ping(host, sequence)
        if reply is None:
            context.kprintf("ping: unknown host %s\n", host)
        elif reply.time_ms is None:
            yield PING_TIMEOUT_MS
            context.kprintf("ping: from %s icmp_seq=%d timeout\n", reply.address, sequence)
        else:
            context.kprintf(
                "%d bytes from %s icmp_seq=%d ttl=%d time=%d %s\n",
                PING_LENGTH,
                reply.address,
                sequence,
                reply.ttl,
                reply.time_ms,
                unit,
            )
        yield PING_PAUSE_MS


@command("dns", "list and set the information of dns")
def dns(context: Context, arguments: Sequence[str]) -> None:
    network = context.board.network
    if len(arguments) == 1:
        for each in network.interfaces:
            default = " (Default)" if each is network.interfaces[0] else ""
            context.write(f"network interface device: {each.name}{default}\n{_dns_lines(each)}")
        return
    name, number, server = arguments[1], "0", arguments[-1]
    if len(arguments) == 4:
        number = arguments[2]
    known = number in ("0", "1") and len(arguments) in (3, 4) and _is_address(server)
    if known and network.set_dns(name, int(number), server):
        context.kprintf("set network interface device(%s) dns server #0: %s\n", name, server)
    else:
        context.write("bad parameter! input: dns <netdev_name> [dns_num] <dns_server>\n")


@command("netstat", "list the information of TCP / IP")
def netstat(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) > 1:
        context.write("Please input: netstat \n")
        return
    network = context.board.network
    waiting = [each for each in network.connections if each.state is TcpState.TIME_WAIT]
    active = [each for each in network.connections if each.state is not TcpState.TIME_WAIT]
    context.write(
        "Active PCB states:\n"
        + _connection_lines(active)
        + "Listen PCB states:\nTIME-WAIT PCB states:\n"
        + _connection_lines(waiting)
        + "Active UDP PCB states:\n"
    )
    for number, each in enumerate(network.sockets):
        context.kprintf("#%d %d %s <==> %s \n", number, each.flags, each.local, each.remote)


def _connection_lines(connections: Sequence[TcpConnection]) -> str:
    return "".join(
        f"#{number} {each.local} <==> {each.remote} snd_nxt 0x{each.send_next:08X} "
        f"rcv_nxt 0x{each.receive_next:08X} state: {each.state.value}\n"
        for number, each in enumerate(connections)
    )


@command("wget", "Get file by URI: wget <URI> <filename>.")
def wget(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) != 3:
        context.write("Please using: wget <URI> <filename>")  # no newline: the prompt follows directly
        return
    uri, name = arguments[1:]
    content = context.board.network.download(uri)
    if isinstance(content, int):
        context.write(console.error("web.file", f"get file failed, wrong response: {content}."))
        return
    files = context.board.files
    if files is None or not files.write(resolve(context.cwd, name), content):
        context.write(console.error("web.file", f"get file failed, open file({name}) error."))
        return
    context.write(">" * -(-len(content) // DOWNLOAD_BLOCK))
