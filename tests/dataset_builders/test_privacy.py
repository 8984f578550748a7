"""No e-mail address and no phone number survives, and the numbers of products do.

The numbers are fictional (555-01xx) or libphonenumber's documented examples; the addresses are of reserved domains.
"""

import re
from collections import Counter

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset_builders.privacy import mask
from dataset_builders.text import clean

EMAILS = (
    ("jane@example.com", "[e-mail]"),
    ("Write to jane.doe+shop@mail.example.co.uk.", "Write to [e-mail]."),
    ("Questions? JANE_DOE@EXAMPLE.COM!", "Questions? [e-mail]!"),
    ("<o'brien@example.org> or 'bob@example.org'", "<[e-mail]> or '[e-mail]'"),
    ("mailto:1234567@163.com,jane@3m.example", "mailto:[e-mail],[e-mail]"),
    ("連絡先はjane@example.jpまで", "連絡先は[e-mail]まで"),
    ("jane＠example．com へ", "[e-mail] へ"),
    ("ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[e-mail]"),
    ("ja\u200bne\u200b@\u2060exam\u00adple.com\ufeff", "[e-mail]\ufeff"),
    ("josé@müller.example, 用户@例子.中国", "[e-mail], [e-mail]"),
    ("jane (at) example (dot) com, bob[at]example.com", "[e-mail], [e-mail]"),
    ("jane..doe@example.com", "[e-mail]"),
    ("a@b.co c@d.co", "[e-mail] [e-mail]"),
)

PHONES = (
    ("212-555-0123", "[phone]"),
    ("Call (212) 555-0123 9am-5pm", "Call [phone] 9am-5pm"),
    ("Sacramento, CA 95825 (916) 555-0123 7910 Antelope Rd", "Sacramento, CA 95825 [phone] 7910 Antelope Rd"),
    ("(212)5550123", "[phone]"),
    ("212/555-0123", "[phone]"),
    ("1-800-555-0199.", "[phone]."),
    ("1866-555-0123", "[phone]"),
    ("1(800) 555-0123", "[phone]"),
    ("212.555.0123 ext. 45, new", "[phone], new"),
    ("212 - 555 - 0123", "[phone]"),
    ("my number 212 555 0123, thanks", "my number [phone], thanks"),
    ("212-555-0123/212-555-0124", "[phone]/[phone]"),
    ("Anderson Lane, 78757 | 512-555-0123 24/7", "Anderson Lane, 78757 | [phone] 24/7"),
    ("please call us at 2125550123", "please call us at [phone]"),
    ("call 2125550123 or 2125550124 or 2125550125", "call [phone] or [phone] or [phone]"),
    ("Tel.: 212 5550123", "Tel.: [phone]"),
    ("+1 212 555 0123", "[phone]"),
    ("+12125550123", "[phone]"),
    ("WhatsApp+34612345678", "WhatsApp[phone]"),
    ("+34 612 34 56 78 9-14h", "[phone] 9-14h"),
    ("+44 (0)20 7946 0958", "[phone]"),
    ("+49 212-555-0123 45", "[phone]"),  # a number in Germany that holds one of the United States
    ("212-555-0123 x 9am", "[phone] x 9am"),
    ("0034 612 345 678", "[phone]"),
    ("011 34 612 345 678", "[phone]"),
    ("+34 612345678 ext. 45, 5 left", "[phone], 5 left"),
    ("+12125550123 x 9am", "[phone] x 9am"),
    ("mugs\n212 555 0123\n2 mugs", "mugs\n[phone]\n2 mugs"),
    ("612 34 56 78", "[phone]"),
    ("(91) 234 56 78", "[phone]"),
    ("91-234-56-78", "[phone]"),
    ("Tlf. 912 345 678", "Tlf. [phone]"),
    ("llámame al 612345678", "llámame al [phone]"),
    ("Teléfono: 912-345-678", "Teléfono: [phone]"),
    ("03-3212-3456", "[phone]"),
    ("電話0332123456まで", "電話[phone]まで"),
    ("TEL03-3212-3456", "TEL[phone]"),
    ("携帯は090-1234-5678です", "携帯は[phone]です"),
    ("（０３）３２１２－３４５６まで", "[phone]まで"),
    ("０３ー３２１２ー３４５６", "[phone]"),
    ("0120-123-456", "[phone]"),
    ("03(3212)3456", "[phone]"),
    ("212\u200b-555\u200d-0\u00ad123", "[phone]"),
)

WHOLE = (
    "HP 304 XL 2-pack, model 415-2036",
    "UPC 0034612345678, 012345678905, EAN 4006381333931, GTIN 00012345678905",
    "UPC 0 12345 67890 5 and 0-12345-67890-5",
    "ISBN 978-0-306-40615-7, ISBN-10 0-306-40615-2, 0-425-28470-0",
    "0425284700",  # an ISBN, and a valid number in Japan
    "9123893656",  # a product's id, and a valid number in Tennessee
    "5325301871 snap appliance snap",
    "Gamo 621319054 Bi-Pod for Air Rifle",
    "DOMETIC 3107206.017 Polar White",
    "86790-04021 OEM Rear Backup Camera",
    "HP 720829-001 Parrot External USB",
    "X Rocker 5129101 2.1 Sound Wireless",
    "Los Angeles, CA 90245 - 12746 Jefferson Blvd",
    "10 x 200 x 3000 mm, 210 297 4200 1000",
    "Canon 250 251 5420 6420 7520, 250/251/5420, 6420 250 251 5420",
    "Compatible with Roomba 600/700/800/900 and 600 700 800 Series",
    "612.345.678 views, 999 999 999 points, 1,000,000,000 downloads",
    "$212.555.0123, €600 10 20 30",
    "B000123456 and B07XJ8C8F5, A212-555-0123, 212-555-0123B",
    "2018-05-17 09:30:00, 05/17/2018, 17.05.2018, 2018 2019 2020 2021",
    "24/7, 365 days, 9-5",
    "order 112-1234567-7654321",
    "Part 1-212-555-0123-4567",
    "Part 7-0034-612-345-678",
    "Part 22-212-555-0123 and 2.212.555.0123",
    "Visa 4111 1111 1111 1111",
    "IP 192.168.100.200:8080, version 10.0.19041.1234",
    "serial 352099001761481, batch 00012345678",
    "phone case 5325301871 for mobile",
    "Intel 5325301871, Hotel 2125550123, multitext 2125550123",
    "call on 2018-05-17 10:00, text 05/17/2018 10 pm, fax 12.06.2019 2100",
    "HP 950 951 952 ink",  # 3-3-3, and a valid number in Spain
    "Levi's 501 30 32 34 36",
    "pH: 7.01 4.01 10.01 solutions",
    "models\n212\n555\n0123",
    "SPF 50+ 200 300 4000, 12+34 612345678 pcs",
    "Bosch 0 986 424 797, BMW 11 42 7 566 327",
    "日本製 １２３４５６７８９０ 型番 ０１２３４５６７８９",
    "12345678901234567890123456789012345678901234567890",
    "4Kビデオ@60Hz、1080P, 4K@60Hz.Ready, 5V@2A.Output",
    "Easy@Home 5 Panel Drug Test, Caldera @Ease In-Line",
    "hit rate@3, recall@10.The next, Core 2 Duo @ 2.13ghz",
    "@earthen_religion on Instagram, youtube.com/@some.channel",
    "look at example.com, see us @ example.com",
    "get your @*% in here, a@b, @, @@@, (at) home",
    "[e-mail] [phone] [mask]",
    "",
)

INSERTED = st.sampled_from(sorted({raw for raw, masked in (*EMAILS, *PHONES) if masked in {"[e-mail]", "[phone]"}}))
WORDS = st.sampled_from(
    [
        *("mug", "x", "2", "24/7", "9am", "10-5", "95825", "(new)", "$5", "€3", "100%", "3.5", "A4", "電話", "call", "[phone]"),
        *"@+-—().,",
    ]
)
PIECES = st.lists(
    INSERTED | WORDS | st.sampled_from(["\u200b", "[e-mail]", "(at)", "212", "-555", "0123", "+", "\n", "\ud800"]), max_size=12
)
MESS = (
    st.builds(str.join, st.sampled_from(["", " "]), PIECES)
    | st.text(max_size=60)
    | st.text("+()-. 0123456789@ax[]", max_size=40)
)


@pytest.mark.parametrize(("text", "masked"), EMAILS)
def test_email_addresses_are_masked_and_counted(text: str, masked: str) -> None:
    assert mask(text) == (masked, Counter({"e-mail": masked.count("[e-mail]")}))


@pytest.mark.parametrize(("text", "masked"), PHONES)
def test_phone_numbers_are_masked_and_what_surrounds_them_stays(text: str, masked: str) -> None:
    assert mask(text) == (masked, Counter({"phone": masked.count("[phone]")}))


@pytest.mark.parametrize("text", WHOLE)
def test_numbers_of_products_and_handles_stay(text: str) -> None:
    assert mask(text) == (text, Counter())


def test_every_kind_is_counted_once_per_place_and_marks_that_were_there_are_not() -> None:
    text = "[phone] jane@example.com 212-555-0123, call 2125550124 or 2125550125 [e-mail]"
    masked = "[phone] [e-mail] [phone], call [phone] or [phone] [e-mail]"
    assert mask(text) == (masked, Counter({"phone": 3, "e-mail": 1}))


@pytest.mark.parametrize("style", ["INTERNATIONAL", "E164", "RFC3966"])
def test_every_countrys_numbers_are_masked_where_they_carry_its_code(style: str) -> None:
    form = getattr(phonenumbers.PhoneNumberFormat, style)
    kinds = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    examples = [
        phonenumbers.example_number_for_type(region, kind) for region in phonenumbers.SUPPORTED_REGIONS for kind in kinds
    ]
    numbers = [phonenumbers.format_number(number, form).removeprefix("tel:") for number in examples if number]
    assert len(numbers) > 400
    assert [
        number for number in numbers if mask(f"Ask 3 at {number}, or 5.") != ("Ask 3 at [phone], or 5.", Counter(phone=1))
    ] == []


@pytest.mark.parametrize("region", ["US", "ES", "JP"])
def test_numbers_of_the_corpora_s_countries_are_masked_as_they_are_written_at_home(region: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
        number = phonenumbers.example_number_for_type(region, kind)
        assert number is not None
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        assert mask(f"x {written}, y") == ("x [phone], y", Counter(phone=1))


@given(before=st.lists(WORDS, max_size=5), secret=INSERTED, after=st.lists(WORDS, max_size=5))
def test_no_number_or_address_survives_whatever_words_surround_it(before: list[str], secret: str, after: list[str]) -> None:
    if re.fullmatch(r"[\d\s]+", secret):  # next to other numbers these are a list
        before, after = [*before, ":"], [";", *after]
    masked, counts = mask(" ".join([*before, secret, *after]))
    assert secret not in masked
    assert counts.total() >= 1


@given(
    address=st.emails(),
    before=st.text("ab (<:;、メ", max_size=8),
    after=st.sampled_from(["", " ", ".", ",", ">", " 5", "。", "まで"]),
)
def test_no_address_of_rfc_5322_survives(address: str, before: str, after: str) -> None:
    name, _, host = address.partition("@")
    if not (name[-1].isalnum() or name[-1] in "_+-"):
        name += "x"
    masked, counts = mask(f"{before}{name}@{host}{after}")
    assert "@" not in masked
    assert counts["e-mail"] == 1


@given(text=MESS)
@settings(max_examples=3 * settings().max_examples)
@example("call jane@example.com 2125550123 2125550124")
@example("jane@bob@example.com@example.com")
@example("jane[at]example.com[at]example.com")
def test_masking_twice_changes_nothing_and_no_text_crashes(text: str) -> None:
    once = mask(text)[0]
    assert mask(once) == (once, Counter())


@given(text=MESS)
def test_what_was_clean_stays_clean(text: str) -> None:
    masked = mask(clean(text, 100))[0]
    assert clean(masked, 100) == masked


@pytest.mark.parametrize(
    "text",
    [
        "a@" * 20_000,
        "a" * 50_000 + "@",
        "1-" * 20_000,
        "+1" * 20_000,
        "call 1 2 3 " * 5_000,
        "a@" + "b." * 20_000,
        "call" + ", " * 30_000,
    ],
    ids=["at", "name", "dashes", "plus", "call", "dots", "commas"],
)
def test_a_hundred_thousand_characters_of_almost_addresses_end(text: str) -> None:
    masked = mask(text)[0]
    assert mask(masked) == (masked, Counter())
