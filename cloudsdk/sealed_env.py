"""Secrets at rest: an ENV whose passwords and keys are encrypted with a key of the board.

A sealed value is the text `g1:` and base64 of nonce, ciphertext and tag of AES-256-GCM (NIST SP 800-38D): it
has no character that an EasyFlash record could not hold. The name of the variable and the SN are associated
data, so that a value opens nowhere else.
"""

import base64
from collections.abc import Callable
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloudsdk import console as lines
from cloudsdk import env
from cloudsdk.env import Env
from cloudsdk.env_key import KEY_LENGTH, EnvKeyError
from cloudsdk.errors import CloudSdkError

SEALED: Final = frozenset({env.PASSWORD, env.DEVICE_KEY})
_PREFIX: Final = "g1:"
_NONCE: Final = 12  # bytes
_TAG: Final = 16  # bytes


class UnsealError(CloudSdkError):
    """A variable that is not sealed with this key, for this name and SN."""

    code: ClassVar[str] = "env.unseal"


class SealedEnv:
    """Implements `cloudsdk.env.Env` around another one; only the variables in `SEALED` are changed.

    `key` has 32 bytes, `random` gives so many random bytes. What does not open counts as missing, with a line
    on the console, and so does `cld_act` then: the device activates again instead of going on without
    identity. Raises `EnvKeyError` for a key of another length.
    """

    def __init__(
        self,
        store: Env,
        key: bytes,
        sn: str,
        *,
        random: Callable[[int], bytes],
        console: Callable[[str], None],
    ) -> None:
        if len(key) != KEY_LENGTH:
            raise EnvKeyError(f"a board key has {KEY_LENGTH} bytes, not {len(key)}")
        self._store = store
        self._cipher = AESGCM(key)
        self._sn = sn
        self._random = random
        self._console = console

    def get(self, key: str) -> str | None:
        """The value in plain text; None if there is none or it does not open."""
        try:
            if key in SEALED:
                return self._opened(key)
            if key == env.ACTIVATED:
                for name in sorted(SEALED):
                    self._opened(name)
        except UnsealError as error:
            self._console(lines.error("cld.env", f"{error} [{error.code}]"))
            return None
        return self._store.get(key)

    def set(self, key: str, value: str) -> None:
        """Set in RAM, sealed where it has to be. Raises `EnvError` as the store does."""
        self._store.set(key, self._sealed(key, value) if key in SEALED else value)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def save(self) -> None:
        self._store.save()

    def _sealed(self, key: str, value: str) -> str:
        nonce = self._random(_NONCE)
        box = self._cipher.encrypt(nonce, value.encode("utf-8", "surrogateescape"), self._context(key))
        return _PREFIX + base64.b64encode(nonce + box).decode()

    def _opened(self, key: str) -> str | None:
        stored = self._store.get(key)
        if stored is None:
            return None
        try:
            if not stored.startswith(_PREFIX):
                raise ValueError
            data = base64.b64decode(stored.removeprefix(_PREFIX), validate=True)
            if len(data) < _NONCE + _TAG:
                raise ValueError
            plain = self._cipher.decrypt(data[:_NONCE], data[_NONCE:], self._context(key))
            return plain.decode("utf-8", "surrogateescape")
        except (ValueError, InvalidTag):
            raise UnsealError(f"{key} is not sealed with this key and SN: it counts as missing") from None

    def _context(self, key: str) -> bytes:
        return f"{key}\0{self._sn}".encode()
