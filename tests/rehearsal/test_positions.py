"""A file of positions is read whole, or refused with every mistake in its place."""

from decimal import Decimal
from pathlib import Path

import pytest

from bot.core.model import ContractKind, Instrument, MarginMode, Side
from bot.core.units import Money, Quantity
from bot.exchange.venues.binanceusdm import RULES, instruments
from bot.policy.problems import PolicyError
from bot.rehearsal.bars import Bars, read_bars
from bot.rehearsal.listing import contract
from bot.rehearsal.positions import read_positions
from bot.rehearsal.setups import ByMargin, ByQuantity, Entry, Opening

D = Decimal
GOOD = """positions:
  - { data: 2020-03-12-btc, side: long, leverage: 10x, margin: 1000 USDT, margin_mode: cross }
  - { data: 2020-03-12-eth, side: short, leverage: 2.5x, quantity: 0.5 ETH, margin_mode: isolated }
"""


def read(folder: Path, text: str, settle: str = "USDT") -> tuple[Opening, ...]:
    file = folder / "book.yaml"
    file.write_text(text, encoding="utf-8")
    return read_positions(file, read_bars, known, settle).openings


def known(bars: Bars) -> Instrument:
    return contract(bars.symbol, bars.listing, instruments(), RULES)


def test_every_value_is_read(tmp_path: Path) -> None:
    first, second = read(tmp_path, GOOD)
    contracts = instruments()
    assert first == Opening(
        bars=read_bars("2020-03-12-btc"),
        instrument=contracts["BTC/USDT:USDT"],
        side=Side.LONG,
        leverage=D(10),
        size=ByMargin(D(1000)),  # type: ignore[arg-type]
        margin_mode=MarginMode.CROSS,
    )
    assert second.instrument == contracts["ETH/USDT:USDT"]
    assert (second.side, second.leverage) == (Side.SHORT, D("2.5"))
    assert second.size == ByQuantity(D("0.5"))  # type: ignore[arg-type]
    assert second.margin_mode is MarginMode.ISOLATED


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "2020-03-12-btc",
            "2020-03-12-bct",
            "2:13: positions.0.data: expected a scenario, a price file or",
        ),
        ("2020-03-12-btc", "2020-03-12-bct", "did you mean 2020-03-12-btc?"),
        ("long", "lang", "2:35: positions.0.side: expected one of long, short (did you mean"),
        ("10x", "10", "2:51: positions.0.leverage: expected a leverage like '10x', was '10'"),
        ("10x", "0x", "positions.0.leverage: expected a leverage like '10x', was '0x'"),
        ("1000 USDT", "1000", "positions.0.margin: expected an amount like '250 USDT'"),
        ("1000 USDT", "0 USDT", "positions.0.margin: expected more than 0, was '0 USDT'"),
        ("0.5 ETH", "0.5 BTC", "3:68: positions.1.quantity: expected a quantity of ETH above 0"),
        ("0.5 ETH", "0 ETH", "positions.1.quantity: expected a quantity of ETH above 0, was"),
        ("0.5 ETH", "0.5 ETH, margin: 1 USDT", "3:5: positions.1: expected either margin or qua"),
        (
            "quantity: 0.5 ETH, ",
            "",
            "positions.1: expected either margin or quantity, was neither",
        ),
        (", margin_mode: cross", "", "positions.0.margin_mode: expected one of isolated, cross"),
        ("data: 2020-03-12-btc, ", "", "positions.0: expected either data or symbol, was neither"),
        (
            "data: 2020-03-12-btc",
            "data: 2020-03-12-btc, symbol: BTC/USDT:USDT",
            "positions.0: expected either data or symbol, was both",
        ),
        (
            "data: 2020-03-12-btc",
            "symbol: BTC/USDT:USDT",
            "positions: expected data in all positions, or symbol in all, was both",
        ),
        (
            "data: 2020-03-12-btc",
            "symbol: BTC/USD:BTC",
            "positions.0.symbol: expected a contract that pays in USDT",
        ),
        ("side: long", "side: long, size: 3", "positions.0.size: expected a known key (did you"),
        ("side: long", "side: long, side: long", "positions.0.side: expected each key once"),
    ],
)
def test_a_mistake_is_named_in_its_place(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    with pytest.raises(PolicyError) as raised:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert len(raised.value.problems) == 1
    assert f"{tmp_path}/book.yaml:" in str(raised.value)
    assert expected in str(raised.value)


NOW = """positions:
  - { symbol: BTC/USDT:USDT, side: long, leverage: 10x, margin: 1000 USDT, margin_mode: cross }
  - { symbol: ETH/USDT:USDT, side: short, leverage: 2x, quantity: 0.5 ETH, margin_mode: isolated }
"""


def test_positions_at_the_prices_of_now_name_their_contract(tmp_path: Path) -> None:
    file = tmp_path / "book.yaml"
    file.write_text(NOW, encoding="utf-8")
    asked = read_positions(file, read_bars, known, "USDT")
    margin, quantity = Money(D(1000)), Quantity(D("0.5"))
    assert asked.openings == ()
    assert asked.entries == (
        Entry("BTC/USDT:USDT", Side.LONG, D(10), ByMargin(margin), MarginMode.CROSS),
        Entry("ETH/USDT:USDT", Side.SHORT, D(2), ByQuantity(quantity), MarginMode.ISOLATED),
    )


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as raised:
        read(tmp_path, GOOD.replace("long", "lang").replace("0.5 ETH", "half"))
    assert [problem.path for problem in raised.value.problems] == [
        "positions.0.side",
        "positions.1.quantity",
    ]


def test_prices_of_an_unknown_contract_are_refused(tmp_path: Path) -> None:
    prices = tmp_path / "binanceusdm_NOPEUSDT_1h.csv"
    prices.write_text("ts_ms,open,high,low,close,volume\n1700000000000,1,1,1,1,1\n")
    prices.write_text(prices.read_text() + "1700003600000,1,1,1,1,1\n")
    with pytest.raises(
        PolicyError, match=r"expected prices of a known contract .*BTC/USDT:USDT.*, was NOPE"
    ):
        read(tmp_path, GOOD.replace("2020-03-12-btc", str(prices)))


@pytest.mark.parametrize("text", ["", "positions: []\n", "- 1\n", "positions: 3\n"])
def test_a_file_without_positions_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError):
        read(tmp_path, text)


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="expected a readable file"):
        read_positions(tmp_path / "none.yaml", read_bars, known, "USDT")


COIN_BARS = """\
# venue: binanceusdm
# symbol: BTCUSD_PERP
# listing: {"tick_size": "0.1", "quantity_step": "100", "quantity_min": "100", "taker_fee": \
"0.0005", "tiers": [{"cap": "5", "maintenance_margin_rate": "0.004", "max_leverage": "125"}]}
ts_ms,open,high,low,close,volume
1583971200000,50000,50100,49900,50000,1
1583974800000,50000,50100,49000,49100,1
"""


def coins(folder: Path, position: str, settle: str = "BTC") -> tuple[Opening, ...]:
    (folder / "coins.csv").write_text(COIN_BARS, encoding="utf-8")
    held = f"{{ data: {folder / 'coins.csv'}, side: long, leverage: 10x, margin_mode: isolated"
    return read(folder, f"positions:\n  - {held}, {position} }}\n", settle)


def test_a_contract_that_pays_in_its_coin_is_read_in_that_and_in_its_face_value(
    tmp_path: Path,
) -> None:
    (by_margin,) = coins(tmp_path, "margin: 0.2 BTC")
    assert by_margin.size == ByMargin(D("0.2"))  # type: ignore[arg-type]
    (by_face,) = coins(tmp_path, "quantity: 10000 USD")
    assert by_face.size == ByQuantity(D(10_000))  # type: ignore[arg-type]
    instrument = by_face.instrument
    assert (instrument.symbol, instrument.settle) == ("BTC/USD:BTC", "BTC")
    assert instrument.kind is ContractKind.INVERSE


@pytest.mark.parametrize(
    ("position", "settle", "expected"),
    [
        ("margin: 0.2 USDT", "BTC", "margin: expected an amount like '0.25 BTC'"),
        ("quantity: 1 BTC", "BTC", "quantity: expected a quantity of USD above 0, was '1 BTC'"),
        (
            "margin: 0.2 USDT",
            "USDT",
            "data: expected prices of a contract that pays in USDT (account.settle of the policy)",
        ),
    ],
)
def test_amounts_in_another_coin_are_named_in_their_place(
    tmp_path: Path, position: str, settle: str, expected: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        coins(tmp_path, position, settle)
    assert f"positions.0.{expected}" in str(refused.value)
