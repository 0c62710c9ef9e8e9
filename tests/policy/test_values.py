"""Numbers with units: exactly one reading, or none."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.units import Duration, Money, Price, Ratio
from bot.policy.values import KINDS, Count, Symbol, Unfit


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Ratio, "12%", Decimal("0.12")),
        (Ratio, "0.05 %", Decimal("0.0005")),
        (Ratio, "25 bps", Decimal("0.0025")),
        (Ratio, "25bps", Decimal("0.0025")),
        (Ratio, "1000%", Decimal(10)),
        (Ratio, "0.00000001%", Decimal("1E-10")),
        (Money, "250 USDT", Decimal(250)),
        (Money, "0 USDT", Decimal(0)),
        (Money, "999999999999.99999999 USDT", Decimal("999999999999.99999999")),
        (Price, "61250.5 USDT", Decimal("61250.5")),
        (Duration, "500ms", 500),
        (Duration, "0s", 0),
        (Duration, "1.5 s", 1_500),
        (Duration, "10m", 600_000),
        (Duration, "1h", 3_600_000),
        (Count, "0", 0),
        (Count, "12", 12),
        (Symbol, "BTC/USDT:USDT", "BTC/USDT:USDT"),
    ],
)
def test_a_number_is_read_exactly(kind: object, text: str, value: object) -> None:
    assert KINDS[kind].parse(text) == value


@pytest.mark.parametrize("number", ["", "nan", "NaN", ".nan", "inf", "-inf", ".inf", "-1", "+1"])
@pytest.mark.parametrize("unit", ["%", " bps", " USDT", "s", ""])
def test_what_is_no_plain_number_is_refused(number: str, unit: str) -> None:
    refused(number + unit)


@pytest.mark.parametrize(
    "number",
    [
        "1e3",
        "1E3",
        "1,000",
        "1_000",
        "010",
        "0x10",
        "1:30",
        ".5",
        "5.",
        "1.2.3",
        "1 000",
        "٣",
        "½",
    ],
)
@pytest.mark.parametrize("unit", ["%", " bps", " USDT", "s", ""])
def test_what_could_be_read_in_two_ways_is_refused(number: str, unit: str) -> None:
    refused(number + unit)


@pytest.mark.parametrize(
    "text", ["12", "12%%", "12  %", "12\t%", "12%\n", " 12%", "12% ", "12 percent", "12USDT %"]
)
def test_a_ratio_needs_exactly_its_unit(text: str) -> None:
    with pytest.raises(Unfit):
        KINDS[Ratio].parse(text)


@pytest.mark.parametrize("text", ["0%", "0.00%", "0 bps", "1000.1%", "100001 bps"])
def test_a_ratio_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(Unfit, match=r"^more than 0% and at most 1000%$"):
        KINDS[Ratio].parse(text)


@pytest.mark.parametrize("text", ["0 USDT", "0.0 USDT"])
def test_a_price_is_never_zero(text: str) -> None:
    with pytest.raises(Unfit, match=r"^more than 0$"):
        KINDS[Price].parse(text)


@pytest.mark.parametrize(
    ("kind", "text", "hint"),
    [
        (Money, "250 USD", "unknown unit 'USD', did you mean 'USDT'?"),
        (Money, "250 usdt", "unknown unit 'usdt', did you mean 'USDT'?"),
        (Money, "1 BTC", "unknown unit 'BTC'"),
        (Ratio, "25 bp", "unknown unit 'bp', did you mean 'bps'?"),
        (Duration, "30 S", "unknown unit 'S', did you mean 's'?"),
        (Duration, "1.5ms", "a part of a millisecond is too short"),
    ],
)
def test_a_near_miss_gets_a_hint(kind: object, text: str, hint: str) -> None:
    with pytest.raises(Unfit) as caught:
        KINDS[kind].parse(text)
    assert str(caught.value) == hint


@given(st.decimals(min_value=Decimal("0.0001"), max_value=1000, places=4))
def test_percent_and_bps_agree(percent: Decimal) -> None:
    ratio = KINDS[Ratio]
    bps = (percent * 100).normalize()
    assert ratio.parse(f"{percent:f}%") == percent / 100 == ratio.parse(f"{bps:f} bps")


def refused(text: str) -> None:
    for kind in (Ratio, Money, Price, Duration, Count):
        with pytest.raises(Unfit):
            KINDS[kind].parse(text)
