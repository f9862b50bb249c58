"""The reference cloud passes, and a cloud with a mistake fails the case that is for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clouds import broken, conform, running_cloud, some_always, verdicts
from console_gateway import Gateway, Link

from sim.cloud import app, firmware, messages, responses
from sim.cloud.broker import limits
from sim.cloud.broker.core import BrokerCore
from sim.cloud.links import EmbeddedLink
from sim.cloud.model import activation, campaigns, sending
from sim.cloud.responses import json_response
from sim.cloud.service import Due, Service
from sim.conformance.cloud import SUITE, CloudTarget, Identity
from sim.conformance.cloud.bench import package
from sim.conformance.results import Verdict
from sim.conformance.xfails import parse_xfails

XFAILS = Path(__file__).parents[2] / "docs/conformance/mosquitto.xfails"
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudTarget]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        running.settle = 0.15
        yield running


@pytest.mark.full
def test_the_reference_cloud_passes(target: CloudTarget) -> None:
    report = conform(target)
    assert broken(report) == {}
    left_out = {result.id for result in report.results if result.verdict is Verdict.NOT_RUN}
    assert left_out == {case.id for case in SUITE.cases if {"shell", "log"} & set(case.needs)}


@pytest.mark.full
def test_the_reference_cloud_on_mosquitto_passes(tmp_path: Path) -> None:
    with running_cloud(tmp_path, broker="mosquitto") as running:
        report = conform(running)
    assert set(broken(report)) == set(parse_xfails(XFAILS.read_text(), SUITE.ids))


def test_without_a_hook_one_device_is_enough(target: CloudTarget) -> None:
    product = target.hook.make_product("given")  # type: ignore[union-attr]
    target.hook.add_device(product.product_id, "GIVEN1")  # type: ignore[union-attr]
    alone = CloudTarget(target.activation, target.mqtt, Identity(product, "GIVEN1"), settle=0.1)
    only = ["activation-re*", "mqtt-takeover", "mqtt-malformed-packet", "task-form"]
    assert {*verdicts(conform(alone, only)).values()} == {Verdict.PASS, Verdict.NOT_RUN}
    assert broken(conform(alone, only)) == {}


# One planted mistake each: what is patched -> the cases that must fail. Others of the same kind still pass.


def _errors_200(patch: Patch) -> None:
    patch.setattr(app, "problem", lambda _status, code, _detail: json_response({"code": code}))


def _short_id(patch: Patch) -> None:
    patch.setattr(
        app, "json_response", lambda found: json_response({**found, "DeviceId": found["DeviceId"][1:]})
    )


def _anonymous_answer(patch: Patch) -> None:
    patch.setattr(app, "json_response", lambda _found: json_response({"ok": True}))


def _lower_case(patch: Patch) -> None:
    patch.setattr(responses, "_title", bytes.lower)


def _no_secret_checked(patch: Patch) -> None:
    patch.setattr(activation, "hmac", SimpleNamespace(compare_digest=lambda _one, _other: True))


def _no_question(patch: Patch) -> None:
    patch.setattr(campaigns, "_came_online", lambda _work, device: setattr(device, "online", True) or [])


def _two_points(patch: Patch) -> None:
    made = messages._outgoing

    def doubled(topics: Any, dp: Any, members: Any) -> Any:
        message = made(topics, dp, members)
        return messages.Outgoing(message.topic, message.payload[:-2] + b',{"DP":1010}]}')

    patch.setattr(messages, "_outgoing", doubled)


def _never_offline(patch: Patch) -> None:
    patch.setattr(campaigns, "went_offline", lambda _work, _device: None)


def _open_topics(patch: Patch) -> None:
    patch.setattr(EmbeddedLink, "may_subscribe", lambda *_: True)


def _open_publishing(patch: Patch) -> None:
    message = EmbeddedLink.on_message

    async def believed(link: Any, _client_id: str, topic: str, payload: bytes, **more: Any) -> None:
        await message(link, topic.split("/")[3], topic, payload, **more)

    patch.setattr(EmbeddedLink, "may_publish", lambda *_: True)
    patch.setattr(EmbeddedLink, "on_message", believed)


def _strict_ids(patch: Patch) -> None:
    published = BrokerCore._published

    def strict(core: Any, link: Any, session: Any, packet: Any, effects: Any) -> None:
        if packet.packet_id == 0:
            core._end(link, "packet id 0", effects)
        else:
            published(core, link, session, packet, effects)

    patch.setattr(BrokerCore, "_published", strict)


def _swallowed_repeats(patch: Patch) -> None:
    published, seen = BrokerCore._published, set()

    def once(core: Any, link: Any, session: Any, packet: Any, effects: Any) -> None:
        if (link.connection, packet.packet_id) not in seen:
            seen.add((link.connection, packet.packet_id))
            published(core, link, session, packet, effects)

    patch.setattr(BrokerCore, "_published", once)


def _no_pong(patch: Patch) -> None:
    from cloudsdk.mqtt.packets import PingReq

    handle = BrokerCore._handle

    def deaf(core: Any, link: Any, session: Any, packet: Any, effects: Any) -> None:
        if not isinstance(packet, PingReq):
            handle(core, link, session, packet, effects)

    patch.setattr(BrokerCore, "_handle", deaf)


def _wrong_key(patch: Patch) -> None:
    cipher = firmware.cipher
    patch.setattr(firmware, "cipher", lambda key: cipher(key[::-1]))


def _no_ranges(patch: Patch) -> None:
    patch.setattr(firmware, "_parse_range", lambda _text, _size: None)


def _suffix_is_prefix(patch: Patch) -> None:
    parse = firmware._parse_range
    patch.setattr(firmware, "_parse_range", lambda text, size: parse(text.replace("=-", "=0-"), size))


def _blocks_only(patch: Patch) -> None:
    parse = firmware._parse_range

    def aligned(text: str, size: int) -> Any:
        found = parse(text, size)
        return found and (found[0] // 16 * 16, found[1])

    patch.setattr(firmware, "_parse_range", aligned)


def _beyond_is_whole(patch: Patch) -> None:
    parse = firmware._parse_range

    def lenient(text: str, size: int) -> Any:
        try:
            return parse(text, size)
        except firmware._UnsatisfiableError:
            return None

    patch.setattr(firmware, "_parse_range", lenient)


def _random_tag(patch: Patch) -> None:
    from itertools import count

    from sim.cloud.model import transfers

    numbers = count()
    patch.setattr(transfers, "entity_tag", lambda *_: f'"{next(numbers)}"')


def _if_range_ignored(patch: Patch) -> None:
    from dataclasses import replace

    from sim.cloud.model import transfers

    plan = firmware.plan_response
    patch.setattr(
        transfers, "plan_response", lambda wanted, size, tag: plan(replace(wanted, if_range=None), size, tag)
    )


def _long_packets(patch: Patch) -> None:
    patch.setattr(sending, "MAX_PACKET", 65535)


def _reversed_set(patch: Patch) -> None:
    made = sending.task_message
    patch.setattr(
        sending, "task_message", lambda topics, at, version, items: made(topics, at, version, items[::-1])
    )


def _mode_by_name(patch: Patch) -> None:
    from dataclasses import replace

    made = sending.task_message
    patch.setattr(
        sending,
        "task_message",
        lambda topics, at, version, items: made(
            topics, at, version, [replace(item, upgrade_mode="forced") for item in items]
        ),
    )


def _sent_once(patch: Patch) -> None:
    send, sent = campaigns._send_task, set()

    def only_once(work: Any, url: str, device: Any, item: Any) -> Any:
        key = (device.device_id, item.task_ref)
        return [] if key in sent else sent.add(key) or send(work, url, device, item)

    patch.setattr(campaigns, "_send_task", only_once)


def _sent_always(patch: Patch) -> None:
    send = campaigns._send_task

    def again(work: Any, url: str, device: Any, item: Any) -> Any:
        device.sent_task = None
        return send(work, url, device, item)[:1]

    patch.setattr(campaigns, "_send_task", again)


def _cancel_does_nothing(patch: Patch) -> None:
    from sim.cloud.model import tasks

    patch.setattr(tasks, "cancel_task", lambda _work, _task: None)


def _not_pushed(patch: Patch) -> None:
    patch.setattr(Service, "due", lambda _service: Due([], more=False, next_at=None))


FAULTS: dict[str, tuple[Callable[[Patch], None], set[str], set[str]]] = {
    "errors answered 200": (
        _errors_200,
        {"activation-wrong-sign", "activation-unknown-sn", "activation-errors-never-200"},
        {"activation-right"},
    ),
    "DeviceId too short": (_short_id, {"activation-id-lengths"}, {"activation-right"}),
    "200 without ids": (_anonymous_answer, {"activation-right"}, {"activation-wrong-sign"}),
    "lower-case header names": (_lower_case, {"activation-header-spelling"}, {"activation-right"}),
    "no secret checked": (
        _no_secret_checked,
        {"activation-sign-of-another-sn", "mqtt-wrong-password", "mqtt-no-password"},
        {"activation-unknown-sn"},
    ),
    "no 1010": (_no_question, {"mqtt-query-after-online"}, {"mqtt-ping"}),
    "two points in a message": (_two_points, {"mqtt-one-point-per-message"}, {"mqtt-own-topic"}),
    "never offline": (_never_offline, {"mqtt-will", "mqtt-disconnect"}, {"mqtt-online"}),
    "any subscription": (_open_topics, {"mqtt-foreign-subscription"}, {"mqtt-foreign-publication"}),
    "any publication": (_open_publishing, {"mqtt-foreign-publication"}, {"mqtt-foreign-subscription"}),
    "no PINGRESP": (_no_pong, {"mqtt-ping", "mqtt-acknowledged"}, {"mqtt-connect"}),
    "nothing pushed": (_not_pushed, {"task-while-online"}, {"task-form"}),
    "packet id 0 refused": (_strict_ids, {"mqtt-packet-id-zero"}, {"mqtt-packet-id-repeated"}),
    "repeated packet id swallowed": (_swallowed_repeats, {"mqtt-packet-id-repeated"}, {"mqtt-connect"}),
    "wrong transport key": (_wrong_key, {"firmware-cipher", "firmware-per-device"}, {"firmware-range"}),
    "no ranges": (_no_ranges, {"firmware-range", "firmware-range-closed"}, {"firmware-cipher"}),
    "suffix taken for prefix": (_suffix_is_prefix, {"firmware-range-suffix"}, {"firmware-range"}),
    "ranges of whole blocks": (_blocks_only, {"firmware-range-unaligned"}, {"firmware-range"}),
    "200 behind the end": (_beyond_is_whole, {"firmware-range-beyond"}, {"firmware-range"}),
    "a new tag each time": (_random_tag, {"firmware-etag"}, {"firmware-cipher"}),
    "If-Range ignored": (_if_range_ignored, {"firmware-if-range"}, {"firmware-range"}),
    "packets too long": (_long_packets, {"task-packet-size"}, {"task-form"}),
    "set in reverse": (_reversed_set, {"task-order"}, {"task-form"}),
    "mode by name": (_mode_by_name, {"task-form"}, {"mqtt-online"}),
    "task sent once ever": (_sent_once, {"task-after-reboot"}, {"task-form"}),
    "task at every report": (
        _sent_always,
        {"task-once-per-connection", "task-question-behind"},
        {"task-after-reboot"},
    ),
    "cancelled in name": (_cancel_does_nothing, {"task-cancelled", "task-cancel-then-update"}, {"task-form"}),
}  # fmt: skip


ALWAYS = {
    "errors answered 200",
    "DeviceId too short",
    "lower-case header names",
    "no secret checked",
    "no 1010",
    "any subscription",
    "packet id 0 refused",
    "wrong transport key",
    "no ranges",
    "set in reverse",
}


@pytest.mark.parametrize("name", some_always(FAULTS, ALWAYS))
def test_a_planted_mistake_fails_its_case(name: str, target: CloudTarget, monkeypatch: Patch) -> None:
    plant, fail, hold = FAULTS[name]
    with monkeypatch.context() as patch:
        patch.setattr(target, "patience", 0.7)
        plant(patch)
        report = conform(target, [*fail, *hold])
    found = verdicts(report)
    assert {case for case, verdict in found.items() if verdict is Verdict.FAIL} == fail, broken(report)


def test_retained_messages_are_found(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(limits.BrokerLimits.__init__, "__defaults__", _keeping_retained())
    monkeypatch.setattr(EmbeddedLink, "may_subscribe", lambda *_: True)
    with running_cloud(tmp_path) as running:
        assert set(broken(conform(running, ["mqtt-retain-ignored"]))) == {"mqtt-retain-ignored"}


def _keeping_retained() -> tuple[Any, ...]:
    defaults = limits.BrokerLimits.__init__.__defaults__ or ()
    assert defaults[-1] == ("/cloud/",)
    return (*defaults[:-1], ())


CONSOLE_FAULTS = {
    "": set(),
    "late": {"shell-listener", "log-order"},
    "name": {"shell-listener", "log-order"},
    "crlf": {"shell-stream"},
    "key-shown": {"shell-stream"},
    "anyone": {"shell-wrong-key"},
    "twice": {"shell-once"},
    "reset": {"shell-fin", "log-off"},
    "stays-open": {"shell-fin", "log-off"},
    "hasty": {"log-order"},
    "one-frame-per-segment": {"log-lines"},
    "tireless": {"log-idle"},
    "both": {"shell-excludes-log"},
}


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CloudTarget, Link]]:
    with pytest.MonkeyPatch.context() as patch:
        link = Link(patch)
        with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
            running.settle = 0.15
            yield running, link


@pytest.mark.parametrize("fault", some_always(CONSOLE_FAULTS, {"", "late", "reset", "hasty"}))
def test_consoles(fault: str, linked: tuple[CloudTarget, Link], monkeypatch: Patch) -> None:
    target, link = linked
    wanted = CONSOLE_FAULTS[fault]
    if fault:
        monkeypatch.setattr(target, "patience", 0.7)
    gateway = Gateway(target.hook._admin, link, frozenset({fault}))  # type: ignore[union-attr]
    link.gateway = gateway
    # Without a mistake all of them pass; with one, those that must fail are enough.
    only = sorted(wanted) or [case.id for case in SUITE.cases if {"shell", "log"} & set(case.needs)]
    try:
        report = conform(target, only, gateway)
    finally:
        gateway.close()
        link.gateway = None
    assert set(broken(report)) == wanted, broken(report)


def test_packages_of_the_cases_are_sound() -> None:
    from cloudsdk.ota.header import RblHeader

    assert RblHeader.unpack(package("app", "2.0.0", 100)).raw_size == 100
