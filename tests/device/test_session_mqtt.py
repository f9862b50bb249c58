"""The life of the MQTT connection, and what is published on it (cloudsdk-protocol 2)."""

import pytest
from device_rig import DEVICE_ID, PRODUCT_ID, Bench, bench

from cloudsdk import events as ev
from cloudsdk.profile import MANUAL, V2_0_0, Profile

DISCONNECTED = "[E/cld.mqtt] MQTT connection is disconnect!"
QUERY = b'{"data":[{"DP":1010}]}'


@pytest.fixture
def device() -> Bench:
    device = bench()
    device.driver.handle(ev.Started())
    return device


def check_reconnects(device: Bench) -> None:
    assert not device.driver.session.online
    assert device.driver.timers == {"mqtt-reconnect": 5.0}
    device.driver.fire("mqtt-reconnect")
    assert device.driver.has(ev.MqttConnect)
    assert device.driver.timers == {"mqtt-answer": 5.0}


def test_subscribes_and_then_publishes(device: Bench) -> None:
    driver = device.driver
    driver.handle(ev.MqttConnected())
    assert driver.effects[0] == ev.MqttSubscribe(f"/device/{PRODUCT_ID}/{DEVICE_ID}/#")
    assert not driver.session.online
    driver.handle(ev.MqttSubscribed())
    assert driver.session.online
    assert driver.timers == {"mqtt-silence": 20.0}
    publishes = [effect for effect in driver.effects if isinstance(effect, ev.MqttPublish)]
    assert publishes == [
        ev.MqttPublish(
            f"/cloud/{PRODUCT_ID}/{DEVICE_ID}/system",
            f'{{"device":"{DEVICE_ID}","vendor":"rtt","data":[{{"DP":1000,"value":true}}]}}'.encode(),
        ),
        ev.MqttPublish(
            f"/cloud/{PRODUCT_ID}/{DEVICE_ID}/ota",
            f'{{"device":"{DEVICE_ID}","vendor":"rtt","data":[{{"DP":1011,"value":{{"version":"0.0"}}}}]}}'.encode(),
        ),
    ]
    assert driver.lines()[-2:] == [
        "[I/MQTT] MQTT server connect success",
        f"[I/MQTT] Subscribe #0 /device/{PRODUCT_ID}/{DEVICE_ID}/# OK!",
    ]


@pytest.mark.parametrize(
    ("profile", "published"),
    [(MANUAL, [1000, 1011]), (V2_0_0, [1000])],
    ids=["manual", "v2.0.0"],
)
def test_the_second_message_of_a_burst_is_lost_in_v2_0_0(profile: Profile, published: list[int]) -> None:
    driver = bench(profile=profile).driver
    driver.handle(ev.Started())
    driver.handle(ev.MqttConnected())
    driver.handle(ev.MqttSubscribed())
    assert [dp for dp, _ in driver.published()] == published
    driver.message(b'{"data":[{"DP":1010},{"DP":1020,"value":true}]}')
    assert [dp for dp, _ in driver.published()] == ([1011, 1021] if profile is MANUAL else [1011])
    driver.message(QUERY)
    assert [dp for dp, _ in driver.published()] == [1011]


def test_missing_connack(device: Bench) -> None:
    assert device.driver.timers == {"mqtt-answer": 5.0}
    device.driver.fire("mqtt-answer")
    assert device.driver.has(ev.MqttDrop)
    assert device.driver.lines()[-1] == DISCONNECTED
    check_reconnects(device)


def test_missing_suback_even_with_messages_in_between(device: Bench) -> None:
    device.driver.handle(ev.MqttConnected())
    device.driver.message(QUERY)
    assert device.driver.timers == {"mqtt-answer": 5.0}
    device.driver.fire("mqtt-answer")
    assert device.driver.has(ev.MqttDrop)
    check_reconnects(device)


def test_refusal(device: Bench) -> None:
    device.driver.handle(ev.MqttRefused(4))
    assert device.driver.lines()[-2:] == ["[E/MQTT] MQTT connect error(4): connection refused", DISCONNECTED]
    assert device.driver.has(ev.MqttDrop)
    check_reconnects(device)


def test_unreachable_broker(device: Bench) -> None:
    device.driver.handle(ev.MqttUnreachable("no route"))
    assert device.driver.lines()[-2:] == ["[E/MQTT] Net connect error(-1)", DISCONNECTED]
    check_reconnects(device)


def test_lost_connection_comes_back_online(device: Bench) -> None:
    driver = device.driver
    for _ in range(2):
        driver.handle(ev.MqttConnected())
        driver.handle(ev.MqttSubscribed())
        assert [dp for dp, _ in driver.published()] == [1000, 1011]
        driver.handle(ev.MqttLost("reset"))
        assert driver.lines()[-1] == DISCONNECTED
        check_reconnects(device)


def test_silence_is_asked_and_an_answer_is_enough(device: Bench) -> None:
    driver = device.driver
    driver.online()
    for heard in (ev.MqttPong(), ev.MqttMessage("/device", b"{}")):
        driver.fire("mqtt-silence")
        assert driver.has(ev.MqttPing)
        assert driver.timers == {"mqtt-answer": 5.0}
        driver.handle(heard)
        assert driver.timers == {"mqtt-silence": 20.0}
    driver.fire("mqtt-silence")
    driver.fire("mqtt-answer")
    assert driver.has(ev.MqttDrop)
    check_reconnects(device)


def test_reported_version_is_that_of_the_last_task_only_when_it_was_stored_whole() -> None:
    task = {"cld_ota_name": "app", "cld_ota_sver": "1.0.0", "cld_ota_mver": "1.1"}
    for missing, version in ((None, "1.1"), *((key, "0.0") for key in task)):
        device = bench()
        device.env.values.update({key: value for key, value in task.items() if key != missing})
        device.driver.online()
        assert device.driver.published()[-1] == (1011, {"version": version})
