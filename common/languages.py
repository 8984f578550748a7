"""Languages of locales, as shops name these."""

from collections.abc import Iterable

from common.errors import UserError

_COUNTRIES = {"uk": "GB"}
"""Codes that shops use for a country and ISO 3166 does not."""


def languages(locales: Iterable[str]) -> list[str]:
    """ISO 639 codes of the languages of these locales, sorted. Raises UserError."""
    return sorted({language_of(locale) for locale in locales})


def language_of(locale: str) -> str:
    """The ISO 639 code of a locale's language: `en` of `us`, `gb`, `uk`, `en` and `en_GB`. Raises UserError.

    A code alone is a country's if that has one official language, as shops name their locales, else a language's.
    """
    from babel import Locale, UnknownLocaleError
    from babel.languages import get_official_languages

    code = locale.strip().replace("-", "_")
    country = _COUNTRIES.get(code.lower(), code.upper())
    official = get_official_languages(country, de_facto=True) if len(code) == 2 else ()
    if len(official) == 1:
        return str(official[0])
    try:
        language = Locale.parse(code).language
    except (ValueError, UnknownLocaleError):
        language = ""
    if not language or official:
        example = f"{official[0]}-{country}" if official else "de-AT"
        raise UserError(f"The language of the locale {locale!r} is not clear. Write language and country, such as {example}.")
    return language
