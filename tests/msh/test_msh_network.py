"""ifconfig, ping, dns, netstat, wget, wifi (console 8)."""

import pytest
from msh_console import Console

from cloudsdk import console as lines
from sim.msh.boards import manual_board_commands
from sim.msh.builtin.network import PING_PAUSE_MS, PING_TIMEOUT_MS, ping
from sim.msh.files import Volume
from sim.msh.kernels import manual_board
from sim.msh.kprintf import uart
from sim.msh.network import (
    NO_ADDRESS,
    AccessPoint,
    Interface,
    MemoryNetwork,
    PingReply,
    Security,
    TcpConnection,
    TcpState,
    UdpSocket,
)

W0 = Interface(
    "w0",
    bytes.fromhex("983b165312d6"),
    "192.168.43.6",
    "192.168.43.1",
    "255.255.255.0",
    ("192.168.43.1", NO_ADDRESS),
)
POINTS = [
    AccessPoint("test_ssid", bytes.fromhex("3cf5918e4c79"), Security.WPA2_AES, -18, 6, 72),
    AccessPoint("rtt_test_ssid_1", bytes.fromhex("c03d46003eaa"), Security.OPEN, -14, 8, 300),
    AccessPoint("rtt_test_ssid_2", bytes.fromhex("ec888f88aa9a"), Security.WPA2_MIXED, -47, 6, 144),
]
IFCONFIG = """\
network interface device: w0 (Default)
MTU: 1500
MAC: 98 3b 16 53 12 d6 
FLAGS: UP LINK_UP INTERNET_UP DHCP_ENABLE ETHARP BROADCAST IGMP
ip address: 192.168.43.6
gw address: 192.168.43.1
net mask  : 255.255.255.0
dns server #0: 192.168.43.1
dns server #1: 0.0.0.0
"""  # noqa: W291 - every byte of the MAC has a blank behind it


def online(**facts: object) -> Console:
    return Console(network=MemoryNetwork(interfaces=[W0], **facts))  # type: ignore[arg-type]


def test_ifconfig() -> None:
    assert online().run("ifconfig") == IFCONFIG
    assert Console().run("ifconfig") == "ifconfig: network interface device list error.\n"


def test_ifconfig_has_an_empty_line_between_interfaces_and_words_for_what_is_off() -> None:
    console = online()
    e0 = Interface(
        "e0", bytes(6), up=False, link_up=False, internet_up=False, dhcp=False, arp=False, igmp=False
    )
    console.board.network.interfaces.append(e0)
    assert console.run("ifconfig") == (
        f"{IFCONFIG}\n"
        "network interface device: e0\n"
        "MTU: 1500\n"
        "MAC: 00 00 00 00 00 00 \n"
        "FLAGS: DOWN LINK_DOWN INTERNET_DOWN DHCP_DISABLE BROADCAST\n"
        "ip address: 0.0.0.0\ngw address: 0.0.0.0\nnet mask  : 0.0.0.0\n"
        "dns server #0: 0.0.0.0\ndns server #1: 0.0.0.0\n"
    )


def test_ifconfig_of_the_older_kernel() -> None:
    network = MemoryNetwork(interfaces=[W0])
    shown = Console(commands=manual_board_commands(), network=network, profile=manual_board).run("ifconfig")
    assert shown.startswith("network interface: w0 (Default)\n")
    assert "FLAGS: UP LINK_UP ETHARP BROADCAST IGMP\n" in shown
    assert shown.endswith("dns server #0: 192.168.43.1\ndns server #1: 0.0.0.0\n")


def test_ifconfig_sets_an_interface_up() -> None:
    console = online()
    assert console.run("ifconfig w0 10.0.0.2 10.0.0.1 255.0.0.0") == (
        "config : w0\nIP addr: 10.0.0.2\nGateway: 10.0.0.1\nnetmask: 255.0.0.0\n"
    )
    assert "ip address: 10.0.0.2\ngw address: 10.0.0.1\nnet mask  : 255.0.0.0\n" in console.run("ifconfig")
    assert console.run("ifconfig e0 10.0.0.2 10.0.0.1 255.0.0.0").endswith(
        "bad network interface device name(e0).\n"
    )
    assert console.run("ifconfig w0") == (
        "bad parameter! e.g: ifconfig e0 192.168.1.30 192.168.1.1 255.255.255.0\n"
    )


def test_ping() -> None:
    address = "118.31.15.152"
    console = online(hosts={"rt-thread.com": [PingReply(address, time) for time in (12, 16, 12, 12)]})
    assert console.run("ping rt-thread.com") == (
        "60 bytes from 118.31.15.152 icmp_seq=0 ttl=52 time=12 ms\n"
        "60 bytes from 118.31.15.152 icmp_seq=1 ttl=52 time=16 ms\n"
        "60 bytes from 118.31.15.152 icmp_seq=2 ttl=52 time=12 ms\n"
        "60 bytes from 118.31.15.152 icmp_seq=3 ttl=52 time=12 ms\n"
    )
    assert console.waits == [PING_PAUSE_MS] * 4


def test_ping_without_an_answer_host_interface_or_argument() -> None:
    console = online(hosts={"h": [PingReply("10.0.0.9", None)]})
    assert console.run("ping h") == "".join(
        f"ping: from 10.0.0.9 icmp_seq={number} timeout\n" for number in range(4)
    )
    assert console.waits == [PING_TIMEOUT_MS, PING_PAUSE_MS] * 4
    assert console.run("ping x") == "ping: unknown host x\n" * 4
    assert console.run("ping") == "Please input: ping <host address>\n"
    assert Console().run("ping x") == "ping: network interface device get error.\n"


def test_ping_of_the_older_kernel_counts_ticks() -> None:
    network = MemoryNetwork(interfaces=[W0], hosts={"h": [PingReply("10.0.0.9", 12)]})
    console = Console(ping, commands=(), network=network, profile=manual_board)
    assert "time=12 ticks\n" in console.run("ping h")


def test_dns() -> None:
    console = online()
    assert console.run("dns") == (
        "network interface device: w0 (Default)\ndns server #0: 192.168.43.1\ndns server #1: 0.0.0.0\n"
    )
    said = "set network interface device(w0) dns server #0: 8.8.8.8\n"
    assert console.run("dns w0 8.8.8.8") == console.run("dns w0 1 8.8.8.8") == said
    assert console.board.network.interfaces[0].dns == ("8.8.8.8", "8.8.8.8")
    bad = "bad parameter! input: dns <netdev_name> [dns_num] <dns_server>\n"
    for line in ("dns w0", "dns e0 8.8.8.8", "dns w0 2 8.8.8.8", "dns w0 8.8.8", "dns w0 0 1.1.1.1 x"):
        assert console.run(line) == bad


def test_netstat() -> None:
    console = online(
        connections=[TcpConnection("192.168.43.6:49153", "118.31.42.51:1883", 0x199F, 0x5B3A21C4)],
        sockets=[UdpSocket("0.0.0.0:68", "0.0.0.0:67")],
    )
    assert console.run("netstat") == (
        "Active PCB states:\n"
        "#0 192.168.43.6:49153 <==> 118.31.42.51:1883 "
        "snd_nxt 0x0000199F rcv_nxt 0x5B3A21C4 state: ESTABLISHED\n"
        "Listen PCB states:\n"
        "TIME-WAIT PCB states:\n"
        "Active UDP PCB states:\n"
        "#0 4 0.0.0.0:68 <==> 0.0.0.0:67 \n"
    )
    assert console.run("netstat -a") == "Please input: netstat \n"


def test_netstat_shows_closed_connections_apart() -> None:
    console = online(connections=[TcpConnection("a:1", "b:2", 1, 2, TcpState.TIME_WAIT)])
    assert console.run("netstat").splitlines()[1:4] == [
        "Listen PCB states:",
        "TIME-WAIT PCB states:",
        "#0 a:1 <==> b:2 snd_nxt 0x00000001 rcv_nxt 0x00000002 state: TIME_WAIT",
    ]


def test_wget() -> None:
    network = MemoryNetwork(pages={"http://h/x": b"x" * 2049})
    console = Console(network=network, volume=Volume("w25q128"))
    assert console.type("wget\r") == "wget\nPlease using: wget <URI> <filename>msh />"
    assert console.run("wget http://h/y y") == (
        "\x1b[31m[E/web.file] get file failed, wrong response: 404.\x1b[0m\n"
    )
    assert console.run("wget http://h/x x") == ">>>"
    assert console.run("cat x") == "x" * 2049
    assert "open file(/dev/x) error." in console.run("wget http://h/x /dev/x")


def test_wifi_usage() -> None:
    usage = (
        "wifi\nwifi help\nwifi scan\nwifi join [SSID] [PASSWORD]\nwifi ap SSID [PASSWORD]\nwifi disc\n"
        "wifi ap_stop\nwifi status\nwifi smartconfig\n"
    )
    for line in ("wifi", "wifi help", "wifi x"):
        assert online().run(line) == usage
    assert online().run("wifi smartconfig") == ""


def test_wifi_scan_is_sorted_by_strength() -> None:
    console = online(access_points=POINTS)
    assert console.run("wifi scan") == (
        "             SSID                      MAC            security    rssi chn Mbps\n"
        "------------------------------- -----------------  -------------- ---- --- ----\n"
        "rtt_test_ssid_1                 c0:3d:46:00:3e:aa  OPEN           -14    8  300\n"
        "test_ssid                       3c:f5:91:8e:4c:79  WPA2_AES_PSK   -18    6   72\n"
        "rtt_test_ssid_2                 ec:88:8f:88:aa:9a  WPA2_MIXED_PSK -47    6  144\n"
    )
    assert console.waits
    assert online().run("wifi scan") == "wifi scan result is null\n"


def test_wifi_join_as_on_a_terminal() -> None:
    point = AccessPoint("ssid_test", bytes(6), Security.WPA2_AES, -20, 1, 72)
    console = online(access_points=[point], passwords={"ssid_test": "12345678"})
    shown = console.type("wifi join ssid_test 12345678\r")
    shown += lines.info("WLAN.lwip", "Got IP address : 192.168.1.123")
    assert uart(shown.encode()) == (
        b"wifi join ssid_test 12345678\r\n"
        b"join ssid:ssid_test\r\r\n"
        b"\x1b[32m[I/WLAN.mgnt] wifi connect success ssid:ssid_test\x1b[0m\r\n"
        b"msh />\x1b[32m[I/WLAN.lwip] Got IP address : 192.168.1.123\x1b[0m\r\n"
    )
    assert console.run("wifi join") == (
        "join ssid:ssid_test\r\n\x1b[32m[I/WLAN.mgnt] wifi is connect ssid:ssid_test\x1b[0m\n"
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "wifi join",
            "not find info\n\x1b[31m[E/WLAN.mgnt] F:rt_wlan_connect L:944 ssid is null!\x1b[0m\n",
        ),
        (
            "wifi join x",
            "join ssid:x\r\n\x1b[33m[W/WLAN.mgnt] F:rt_wlan_connect L:972 not find ap! ssid:x\x1b[0m\n",
        ),
        (
            "wifi join test_ssid bad",
            "join ssid:test_ssid\r\njoin ssid test_ssid failed! error code: -1\n"
            "\x1b[32m[I/WLAN.mgnt] wifi connect failed!\x1b[0m\n",
        ),
    ],
)
def test_wifi_join_that_fails(line: str, shown: str) -> None:
    assert online(access_points=POINTS, passwords={"test_ssid": "good"}).run(line) == shown


def test_passwords_stay_out_of_the_repr() -> None:
    assert "secret" not in repr(MemoryNetwork(passwords={"x": "secret"}))


def test_wifi_status_and_disc() -> None:
    point = AccessPoint("test_ssid", bytes.fromhex("ec888f88aa9a"), Security.OPEN, -25, 13, 300)
    console = online(joined=point)
    rest = "wifi ap not start!\nAuto Connect status:Enable!\n"
    assert console.run("wifi status") == (
        "Wi-Fi STA Info\n"
        "SSID : test_ssid\n"
        "MAC Addr: ec:88:8f:88:aa:9a\n"
        "Channel: 13\n"
        "DataRate: 300Mbps\n"
        "RSSI: -25\n" + rest
    )
    assert console.run("wifi disc") == (
        "wifi link down\r\n\x1b[32m[I/WLAN.mgnt] disconnect success!\x1b[0m\n"
    )
    assert console.run("wifi status") == "wifi disconnected!\n" + rest


def test_wwd_bus_is_switched() -> None:
    console = Console()
    assert console.run("wwd_bus") + console.run("wwd_bus") == "wwd bus log=>1\nwwd bus log=>0\n"
