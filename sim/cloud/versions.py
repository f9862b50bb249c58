"""The order of firmware versions (platform 8.1). Pure.

A version is numbers separated by dots, with a leading `v` or without, and what follows them:

- numbers count as numbers, and missing ones are zero: 1.9 < 1.10, 1.2 = 1.2.0;
- `alpha`, `beta`, `dev`, `pre`, `preview`, `rc` and `snapshot` behind them come before the version itself, in
  the order dev, snapshot, alpha, beta, pre and preview, rc: 2.0-beta2 < 2.0-rc1 < 2.0;
- anything else comes after it: 1.0 < 1.0.a < 1.0.b < 1.0-hotfix;
- separators and upper or lower case make no difference.
"""

import re
from typing import Final

_RELEASE: Final = re.compile(r"[vV]?([0-9]+(?:\.[0-9]+)*)", re.ASCII)
_TOKEN: Final = re.compile(r"[0-9]+|[a-z]+", re.ASCII)
_EARLY: Final = {"dev": 0, "snapshot": 1, "alpha": 2, "beta": 3, "pre": 4, "preview": 4, "rc": 5}

# Ranks of what follows the numbers. The end lies between what comes before a release and what comes after it.
_PRE, _END, _WORD, _NUMBER = range(4)

VersionKey = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...]]


def version_key(text: str) -> VersionKey:
    """Something that sorts as versions do."""
    match = _RELEASE.match(text)
    numbers = [int(part) for part in match[1].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest = _TOKEN.findall(text[match.end() :].lower() if match else text.lower())
    return tuple(numbers), (*map(_rank, rest), (_END, 0, ""))


def is_higher(version: str, other: str) -> bool:
    """Whether `version` comes after `other`; neither does when they are equal."""
    return version_key(version) > version_key(other)


def _rank(token: str) -> tuple[int, int, str]:
    if token.isdigit():
        return _NUMBER, int(token), ""
    return (_PRE, _EARLY[token], "") if token in _EARLY else (_WORD, 0, token)
