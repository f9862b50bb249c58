"""Errors of the MQTT layer."""

from typing import TYPE_CHECKING

from cloudsdk.errors import CloudSdkError

if TYPE_CHECKING:
    from cloudsdk.mqtt.packets import Packet


class MqttError(CloudSdkError):
    """The byte stream or a packet breaks MQTT 3.1.1.

    A `Decoder` puts the packets it completed before the faulty one into `packets`, so that what a peer said
    before its mistake does not depend on how TCP cut the stream.
    """

    code = "mqtt.error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.packets: list[Packet] = []


class MalformedPacketError(MqttError):
    """Bytes that are no MQTT 3.1.1 packet, or a packet whose fields do not fit the format."""

    code = "mqtt.malformed"


class PacketTooLargeError(MqttError):
    """A packet longer than the receiver or the format allows."""

    code = "mqtt.packet-too-large"


class InvalidTopicError(MqttError):
    """A topic name that MQTT 3.1.1 section 4.7 does not allow."""

    code = "mqtt.invalid-topic"
