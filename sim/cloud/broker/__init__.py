"""The embedded MQTT 3.1.1 broker: a pure core (`core`) inside an asyncio shell (`server`)."""

from sim.cloud.broker.limits import BrokerLimits
from sim.cloud.broker.policy import BrokerPolicy
from sim.cloud.broker.server import EmbeddedBroker

__all__ = ["BrokerLimits", "BrokerPolicy", "EmbeddedBroker"]
