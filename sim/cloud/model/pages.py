"""Lists in parts. The cursor is the id of the last row seen, so that rows that come and go move nothing."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from sim.cloud.errors import BadRequestError
from sim.cloud.model.text import is_int
from sim.cloud.shapes import Page

MAX_PAGE: Final = 1000  # rows
MAX_CURSOR: Final = 2**63 - 1


class _Row(Protocol):
    @property
    def id(self) -> int: ...


R = TypeVar("R", bound=_Row)
T = TypeVar("T")


def check_page(after: object, limit: object) -> None:
    """Raises `BadRequestError` for a cursor or a number of rows that cannot be."""
    if not isinstance(after, int) or not is_int(after) or not 0 <= after <= MAX_CURSOR:
        raise BadRequestError("after must be 0 or the next of a page")
    if not isinstance(limit, int) or not is_int(limit) or not 1 <= limit <= MAX_PAGE:
        raise BadRequestError(f"limit must be 1 to {MAX_PAGE}")


def make_page(rows: Sequence[R], limit: int, info: Callable[[R], T]) -> Page[T]:
    """The page of `rows`, which are `limit` + 1 if there is another one."""
    shown = rows[:limit]
    return Page(items=[info(row) for row in shown], next=shown[-1].id if len(rows) > limit else None)
