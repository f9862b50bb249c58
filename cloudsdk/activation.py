"""Dynamic activation: SN and ProductKey in, DeviceID and DeviceKey out (cloudsdk-protocol 1)."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

from cloudsdk.cjson import JsonError, member, parse
from cloudsdk.errors import CloudSdkError

DEVICE_ID_LENGTH: Final = 16
DEVICE_KEY_LENGTH: Final = 32


class ActivationError(CloudSdkError):
    """The response does not hold a DeviceID and a DeviceKey."""

    code = "activation.response"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What activation yields."""

    device_id: str
    device_key: str = field(repr=False)

    @property
    def password(self) -> str:
        return mqtt_password(self.device_key)


def _md5_hex(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def sign(product_key: str, sn: str) -> str:
    """Lower-case hex MD5 of ProductKey directly followed by SN (1.2)."""
    return _md5_hex(product_key + sn)


def mqtt_password(device_key: str) -> str:
    """Lower-case hex MD5 of the DeviceKey's characters (2.1)."""
    return _md5_hex(device_key)


def request_body(*, product_id: str, product_key: str, sn: str) -> bytes:
    """Compact JSON, members in the original's order (1.2)."""
    fields = {"Sign": sign(product_key, sn), "SN": sn, "ProductId": product_id}
    return json.dumps(fields, separators=(",", ":")).encode()


def parse_response(body: bytes) -> Credentials:
    """Read a 200 response. Raises `ActivationError` when a member is missing or too short.

    The original copies exactly 16 and 32 characters and does not check that they are there (1.3); the check
    here keeps rubbish out of ENV, longer values are cut as the original cuts them.
    """
    try:
        response = parse(body)
    except JsonError as exc:
        raise ActivationError("the activation response is not JSON") from exc
    values = []
    for name, length in (("DeviceId", DEVICE_ID_LENGTH), ("DeviceKey", DEVICE_KEY_LENGTH)):
        value = member(response, name)
        if not isinstance(value, str) or len(value) < length or not value.isascii():
            raise ActivationError(f"the activation response has no {name} of {length} characters")
        values.append(value[:length])
    return Credentials(*values)
