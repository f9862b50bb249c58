"""Pages of long lists. Pure."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sim.cloud.errors import BadRequestError
from sim.cloud.shapes import Page

MAX_PAGE: Final = 1000  # rows

R = TypeVar("R")
T = TypeVar("T")


def page_limit(limit: int) -> int:
    """`limit`, if a page may have that many rows. Raises `BadRequestError`."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE:
        raise BadRequestError(f"a page has 1 to {MAX_PAGE} rows")
    return limit


def cut(rows: Sequence[R], limit: int, info: Callable[[R], T], cursor: Callable[[R], int]) -> Page[T]:
    """The first `limit` rows as a page; one row more says that another page follows."""
    shown = rows[:limit]
    return Page(items=[info(row) for row in shown], next=cursor(shown[-1]) if len(rows) > limit else None)
