"""The languages of the console. Every text has an English and a Chinese form; `texts/` holds them."""

from dataclasses import dataclass
from enum import StrEnum

from sim.cloud.web.texts import TEXTS


class Language(StrEnum):
    EN = "en"
    ZH = "zh"


@dataclass(frozen=True, slots=True)
class Translator:
    """`t("products.title")` is that text in the reader's language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The text `key`, with `values` in its braces. Raises `KeyError` for an unknown key."""
        text = TEXTS[key][0 if self.language is Language.EN else 1]
        return text.format(**values) if values else text

    def known(self, key: str, otherwise: str) -> str:
        """The text `key`, or `otherwise` where there is none: for names that come from outside."""
        return self(key) if key in TEXTS else otherwise


def preferred(cookie: str | None, accept_language: str) -> Language:
    """What the reader chose, else what the browser asks for first."""
    if cookie in set(Language):
        return Language(cookie)
    return Language.ZH if accept_language.lower().lstrip().startswith("zh") else Language.EN
