"""Locales as shops and systems spell them, and which of those that were asked for they mean."""

import pytest

from dataset_builders.locales import locales_named


@pytest.mark.parametrize(
    ("written", "asked", "named"),
    [
        ("en_US", "us", "us"),
        ("EN-us", "us", "us"),
        ("us", "en-US", "en-US"),
        ("de_DE.UTF-8", "us,de", "de"),
        ("de-DE@euro", "us,de", "de"),
        ("english", "us,de", "us"),
        ("Deutsch", "us,de", "de"),
        ("deu", "us,de", "de"),
        ("USA", "us,de", "us"),
        ("uk", "gb", "gb"),
        ("zh-Hans-CN", "cn", "cn"),
        ("ja", "jp", "jp"),
        ("pt_BR", "br", "br"),
        ("United States", "us,gb", "us"),
        ("Great Britain", "us,gb", "gb"),
        ("\u00d6sterreich", "de,at", "at"),
        ("English (US)", "us,gb", "us"),
        ("us_en", "us,gb", "us"),
        ("\u200eus", "us,gb", "us"),
    ],
)
def test_a_locale_is_known_in_other_spellings(written: str, asked: str, named: str) -> None:
    assert locales_named(written, asked.split(",")) == (named,)


@pytest.mark.parametrize(
    ("written", "asked"), [("gb", "us"), ("en_GB", "us"), ("es_US", "us"), ("de", "at"), ("string", "us"), ("---", "us")]
)
def test_another_country_language_or_word_is_none_of_those_asked_for(written: str, asked: str) -> None:
    assert locales_named(written, [asked]) == ()


def test_a_language_that_several_locales_share_names_them_all() -> None:
    assert locales_named("en", ["us", "de", "gb"]) == ("us", "gb")
