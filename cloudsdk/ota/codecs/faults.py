"""What can be wrong with a block, in the words that both implementations use."""

from typing import Final

from cloudsdk.ota.errors import CodecError

MAX_RAW_SIZE: Final = 0xFFFFFFFF - 9  # bytes: a QuickLZ header has 32 bits for the block, itself included


def raw_too_large(codec: str, size: int) -> CodecError:
    return CodecError(f"{codec} cannot encode {size} bytes in one block: give at most {MAX_RAW_SIZE}")


def match_too_far(codec: str, at: int, distance: int) -> CodecError:
    return CodecError(f"a {codec} match at {at} reaches {distance} bytes back")


def quicklz_ends(at: int, raw_size: int) -> CodecError:
    return CodecError(f"the QuickLZ block ends after {at} of {raw_size} raw bytes")


def quicklz_no_sentinel() -> CodecError:
    return CodecError("a QuickLZ control word has no sentinel bit")


def quicklz_match_past_end(at: int) -> CodecError:
    return CodecError(f"a QuickLZ match at {at} runs past the end of the block")


def fastlz_empty_data() -> CodecError:
    return CodecError("FastLZ cannot encode an empty block")


def fastlz_ends_in_match() -> CodecError:
    return CodecError("the FastLZ block ends inside a match: the package is cut short")


def fastlz_ends_in_literals() -> CodecError:
    return CodecError("the FastLZ block ends inside a run of literals: the package is cut short")


def fastlz_too_long(max_size: int) -> CodecError:
    return CodecError(f"the FastLZ block decodes to more than the {max_size} bytes allowed")
