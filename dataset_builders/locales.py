"""Which of the locales that were asked for a row means: `en_US`, `de_DE.UTF-8`, `USA` and `English` as well as `us`."""

import re
from collections.abc import Iterable
from functools import lru_cache

from common.errors import UserError
from common.languages import language_of
from dataset_builders.values import visible

_WITH_COUNTRY = re.compile(r"(.+?) ?\((.+)\)")
_SWAPPED = re.compile(r"([a-z]{2})_([a-z]{2})")


def locales_named(written: str, locales: Iterable[str]) -> tuple[str, ...]:
    """Those of `locales`, in their order, that the text may mean; several where it is a language that they share.

    A country must be the same. A language alone, as a code that is no country's (`en`) or in words, is enough. `de` and `fr`
    are countries, as in --locales.
    """
    asked = tuple(locales)
    text = _plain(written)
    if exact := tuple(locale for locale in asked if _plain(locale) == text):
        return exact
    if (found := _meaning(text)) is None:
        return ()
    language, country = found
    meanings = {locale: _meaning(_plain(locale)) for locale in asked}
    if country:
        return tuple(locale for locale, other in meanings.items() if other == (language, country))
    return tuple(locale for locale, other in meanings.items() if other and other[0] == language)


def _plain(text: str) -> str:
    """Without the encoding and the variant of POSIX, as in de_DE.UTF-8@euro."""
    return visible(text).casefold().partition(".")[0].partition("@")[0].replace("-", "_")


@lru_cache(maxsize=1024)
def _meaning(text: str) -> tuple[str, str] | None:
    """Language and country; the country is empty where the text is a language's alone. None where it is neither."""
    from babel import Locale, UnknownLocaleError
    from babel.core import get_global

    if named := _languages().get(text):
        return named, ""
    if parts := _WITH_COUNTRY.fullmatch(text):
        spoken, lived = _meaning(parts[1]), _meaning(parts[2])
        return (spoken[0], lived[1]) if spoken and lived else None
    text = _countries().get(text, text) if len(text) > 3 else text
    countries = get_global("territory_aliases")
    code = text.upper()
    country = countries[code][0] if len(countries.get(code, ())) == 1 else code
    try:
        if "_" not in text:
            language = language_of(country if len(country) == 2 else text)
            return language, country if country in Locale("en").territories else ""
        # Addresses of pages have the country first, as in us_en.
        locale = Locale.parse(_SWAPPED.sub(r"\2_\1", text) if text.partition("_")[0] not in _codes() else text)
    except (UserError, ValueError, UnknownLocaleError):
        return None
    return locale.language, locale.territory or ""


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    from babel import localedata

    return frozenset(code for code in localedata.locale_identifiers() if "_" not in code)


@lru_cache(maxsize=1)
def _countries() -> dict[str, str]:
    """Names of countries, in English and in their own languages -> their codes."""
    from babel import Locale
    from babel.languages import get_official_languages

    codes = [code for code in map(str, Locale("en").territories) if len(code) == 2 and code.isalpha()]
    found = {"great britain": "gb", "england": "gb", "united states of america": "us"}
    for code in codes:
        for language in ("en", *(name for name in get_official_languages(code, de_facto=True) if name in _codes())):
            found[_plain(Locale(language).territories.get(code, code))] = code.lower()
    return found


@lru_cache(maxsize=1)
def _languages() -> dict[str, str]:
    """Names of languages, in English and in themselves, and their codes of three letters -> their code."""
    from babel import Locale, localedata
    from babel.core import get_global

    found = {name.casefold(): code for code, name in Locale("en").languages.items() if len(code) == 2}
    for code in localedata.locale_identifiers():
        if len(code) == 2 and (own := Locale(code).languages.get(code)):
            found[own.casefold()] = code
    return found | {code: to for code, to in get_global("language_aliases").items() if len(code) == 3 and len(to) == 2}
