"""Languages of proposed files: which columns are of which locale, and which rows."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from common.languages import language_of
from dataset_builders.column_names import named_columns
from dataset_builders.file_profiles import FileProfile
from dataset_builders.locales import locales_named
from dataset_builders.plain_names import plain_name
from dataset_builders.proposed import ProposedFile
from dataset_builders.value_guesses import locale_guess
from dataset_builders.values import as_text

OF_LANGUAGE = ("locale", "language", "lang")
LANGUAGE_IDS = ("lang_id", "language_id", "locale_id")
LOCALES = (*OF_LANGUAGE, "market", "country")
_MARK = re.compile(r"(?<![a-zA-Z])[a-z]{2}[-_][A-Za-z]{2}(?![a-zA-Z])")


def language_marks(profile: FileProfile, locales: Sequence[str]) -> list[str]:
    """What marks a column of one of the locales, as `us`, `en` and `en_US` do in `name_en` and `name.en-US`."""
    written = {mark for name in profile.paths for mark in _MARK.findall(name)}
    marks = [mark for locale in locales for mark in sorted(written) if locales_named(mark, [locale])]
    spoken = (language_of(locale) for locale in locales)
    return list(dict.fromkeys([*locales, *spoken, *map(plain_name, marks), "default"]))


def other_languages(file: ProposedFile, locales: Sequence[str]) -> list[ProposedFile]:
    """The products in the locales behind the first one, where the file has their titles in columns of their own."""
    titles = set(file.column("title"))
    found = []
    for locale in locales[1:]:
        columns = named_columns(
            file.profile, "products", file.profile.paths, language_marks(file.profile, [locale]), ("product_id", "title")
        )
        if "locale" not in file.entry["columns"] and columns.get("title", next(iter(titles))) not in titles:
            titles.add(columns["title"])
            own = {name: columns[name] for name in ("title", "description") if name in columns}
            shared = {name: made for name, made in file.entry["columns"].items() if name not in ("title", "description")}
            entry = {key: value for key, value in file.entry.items() if key != "also_known_as"}
            found.append(replace(file, entry={**entry, "locale": locale, "columns": {**shared, **own}}))
    return found


def with_locale(file: ProposedFile, locales: Sequence[str]) -> ProposedFile:
    """The file with the column that says a row's locale, or with the rows of one language alone where ids stand for them."""
    plain = {plain_name(name): name for name in reversed(file.profile.columns)}
    named = next((name for name in LOCALES if name in plain), None)
    if not named:
        return _of_one_language(file, plain)
    locale = plain[named]
    if guess := locale_guess(file.profile.values(locale), locales, named in OF_LANGUAGE):
        return file.with_column("locale", {"column": locale, **guess.keys} if guess.keys else locale, guess.unsure)
    if named in OF_LANGUAGE and (words := sorted(file.profile.texts(locale))[:5]):
        return file.with_column("locale", locale, f"which locales {', '.join(words)} are; write values: {{{words[0]}: us}}")
    return file


def _of_one_language(file: ProposedFile, plain: dict[str, str]) -> ProposedFile:
    """Without the rows of other languages, where numbers or keys stand for these."""
    name = next((plain[name] for name in LANGUAGE_IDS if name in plain), "")
    counts = Counter(as_text(value) for value in file.profile.values(name)) if name else Counter[str]()
    if len(counts) < 2:
        return file
    first, *others = sorted(counts, key=lambda text: (-counts[text], text))
    told = f"which language each {name} is; rows of {', '.join(others[:5])} are left out"
    return replace(file, entry={"where": {name: [first]}, **file.entry}).with_note("where", told)
