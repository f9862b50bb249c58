"""Every bound of the broker, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Bounds that keep one client from hurting the others. The defaults suit tens of thousands of devices."""

    max_connections: int = 20_000
    connect_timeout: float = 10.0  # seconds from TCP accept to an accepted CONNECT
    max_packet_size: int = 64 * 1024  # bytes of one whole packet, both ways
    outbound_buffer: int = 512 * 1024  # bytes a client may leave unread before it is disconnected
    close_timeout: float = 5.0  # seconds to flush a closing connection, and to finish callbacks on stop
    sweep_interval: float = 0.5  # seconds between looks for silent connections

    max_client_id: int = 128  # characters
    max_subscriptions: int = 64  # per session
    max_topic_levels: int = 32  # in one subscription
    max_inflight: int = 20  # QoS 1 and 2 messages sent to one client and not yet acknowledged
    max_inbound_qos2: int = 100  # QoS 2 messages received from one client and not yet released
    max_queued: int = 100  # QoS 1 and 2 messages waiting for one client
    max_pending_bytes: int = 256 * 1024  # topics and payloads of all messages in flight and waiting
    max_backlog: int = 64  # messages of one client waiting for `on_message` before reading from it pauses
    max_offline_sessions: int = 10_000  # sessions with clean session 0 and no connection; the oldest go first

    max_retained: int = 1024  # messages, each at most `max_packet_size`
    # The original device's retain flag is garbage (cloudsdk-protocol 2.3): never keep what devices publish.
    never_retain_prefixes: tuple[str, ...] = ("/cloud/",)
