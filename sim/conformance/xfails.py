"""The file of expected failures: one `case-id: reason` a line, `#` begins a comment. Pure."""

from collections.abc import Collection

from cloudsdk.errors import UsageError


def parse_xfails(text: str, known: Collection[str]) -> dict[str, str]:
    """Case id -> reason. Raises `UsageError` for a line that is not one, an id not `known` or named twice."""
    found: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        case_id, colon, reason = (part.strip() for part in line.partition(":"))
        if not colon or not reason:
            raise UsageError(f"line {number} of the expected failures is not 'case-id: reason'")
        if case_id not in known:
            raise UsageError(f"line {number} of the expected failures: there is no case {case_id!r}")
        if case_id in found:
            raise UsageError(f"line {number} of the expected failures: {case_id} is named twice")
        found[case_id] = reason
    return found
