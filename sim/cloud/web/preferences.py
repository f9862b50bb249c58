"""What a reader has chosen, kept in cookies of the browser: language, theme, time zone."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.requests import Request

from sim.cloud.web.i18n import Language, preferred

LANGUAGE_COOKIE: Final = "cloudsim_language"
THEME_COOKIE: Final = "cloudsim_theme"
ZONE_COOKIE: Final = "cloudsim_zone"
COOKIE_AGE: Final = 365 * 24 * 3600  # seconds a choice is kept


class Theme(StrEnum):
    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"

    @property
    def dark(self) -> bool | None:
        """As Quasar has it: None follows the system."""
        return {Theme.AUTO: None, Theme.LIGHT: False, Theme.DARK: True}[self]

    @property
    def next(self) -> "Theme":
        themes = list(Theme)
        return themes[(themes.index(self) + 1) % len(themes)]


@dataclass(frozen=True, slots=True)
class Preferences:
    language: Language
    theme: Theme
    zone: ZoneInfo


def preferences(request: Request) -> Preferences:
    cookies = request.cookies
    theme = cookies.get(THEME_COOKIE)
    return Preferences(
        preferred(cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")),
        Theme(theme) if theme in set(Theme) else Theme.AUTO,
        _zone(cookies.get(ZONE_COOKIE, "")),
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name.replace("%2F", "/"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def set_cookie_script(name: str, value: str) -> str:
    """JavaScript that keeps a choice. `name` and `value` are our own constants."""
    return f"document.cookie = '{name}={value}; path=/; max-age={COOKIE_AGE}; samesite=lax'"


#: JavaScript of every page: tells the server the time zone of the reader.
ZONE_SCRIPT: Final = (
    f"document.cookie = '{ZONE_COOKIE}='"
    " + encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)"
    f" + '; path=/; max-age={COOKIE_AGE}; samesite=lax'"
)
