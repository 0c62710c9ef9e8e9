"""Price files are read exactly or refused in one line that says where and why."""

import gzip
import random
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from bot.core.units import Price, Ratio
from bot.rehearsal.bars import (
    Bar,
    DataError,
    FundingSettled,
    NoFunding,
    Ohlc,
    read_bars,
    scenario_names,
)

NAME = "binanceusdm_BTCUSDT_20200312_1h.csv"
HEADER = "ts_ms,open,high,low,close,volume,mark,mark_open,mark_high,mark_low,funding_rate"
ROWS = [
    "1583971200000,100,110,90,105,7.5,104.5,100.5,109.5,91.5,0.0001",
    "1583974800000,105,106,104,105,0,105.5,104.5,105.5,104.25,",
    "1583978400000,105,106,104,105,1e3,105.5,104.5,105.5,104.25,-1.5e-05",
    "1583982000000,105,106,104,105,2,105.5,104.5,105.5,104.25,",
]


def ohlc(open_: str, high: str, low: str, close: str) -> Ohlc:
    return Ohlc(*(Price(Decimal(price)) for price in (open_, high, low, close)))


def write(folder: Path, lines: list[str], name: str = NAME) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(source: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        read_bars(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_every_column(tmp_path: Path) -> None:
    bars = read_bars(write(tmp_path, [HEADER, *ROWS]))
    assert (bars.venue, bars.symbol, bars.interval_ms) == ("binanceusdm", "BTC/USDT:USDT", 3600000)
    assert bars.mark_is_recorded
    assert bars.provenance == NAME
    assert bars.rows[:2] == (
        Bar(
            1583971200000,
            last=ohlc("100", "110", "90", "105"),
            mark=ohlc("100.5", "109.5", "91.5", "104.5"),
            funding=FundingSettled(Ratio(Decimal("0.0001")), 7_200_000),
        ),
        Bar(
            1583974800000,
            last=ohlc("105", "106", "104", "105"),
            mark=ohlc("104.5", "105.5", "104.25", "105.5"),
            funding=NoFunding(),
        ),
    )
    assert bars.rows[2].funding == FundingSettled(Ratio(Decimal("-0.000015")), 7_200_000)


def test_the_distance_of_settlements_comes_from_the_data_and_may_change(tmp_path: Path) -> None:
    rates = {2: "0.01", 10: "0.02", 14: "0.03", 15: "0.04"}
    rows = [
        f"{1583971200000 + hour * 3_600_000},5,5,5,5,1,{rates.get(hour, '')}" for hour in range(17)
    ]
    bars = read_bars(write(tmp_path, ["ts_ms,open,high,low,close,volume,funding_rate", *rows]))
    distances = {
        hour: row.funding.interval_ms // 3_600_000
        for hour, row in enumerate(bars.rows)
        if isinstance(row.funding, FundingSettled)
    }
    # Nobody recorded when funding was settled before hour 2: the distance to the next one stands.
    assert distances == {2: 8, 10: 8, 14: 4, 15: 1}


def test_one_settlement_alone_is_refused_as_it_has_no_distance(tmp_path: Path) -> None:
    lines = [HEADER, ROWS[0].removesuffix("0.0001"), *ROWS[1:]]
    assert refusal(write(tmp_path, lines)).endswith(
        f"{NAME}:4: funding_rate: expected none, or two and more, as one does not say how often "
        "funding is settled"
    )


def test_gzip_crlf_byte_order_mark_and_order_of_columns_change_nothing(tmp_path: Path) -> None:
    turned = ["funding_rate," + HEADER.removesuffix(",funding_rate")]
    turned += [f"{row.rsplit(',', 1)[1]},{row.rsplit(',', 1)[0]}" for row in ROWS]
    path = tmp_path / f"{NAME}.gz"
    path.write_bytes(gzip.compress("\r\n".join(turned).encode("utf-8-sig")))
    assert read_bars(path).rows == read_bars(write(tmp_path, [HEADER, *ROWS])).rows


def test_without_mark_columns_the_mark_is_the_last_price_and_says_so(tmp_path: Path) -> None:
    short = [",".join(line.split(",")[:6]) for line in (HEADER, *ROWS)]
    bars = read_bars(write(tmp_path, short))
    assert not bars.mark_is_recorded
    assert all(bar.mark == bar.last and bar.funding == NoFunding() for bar in bars.rows)


def test_comments_name_venue_and_symbol_before_the_file_does(tmp_path: Path) -> None:
    comments = ["# venue: okx", "# symbol: 1000PEPEUSDT", "# Made by hand.", "#Two: lines."]
    bars = read_bars(write(tmp_path, [*comments, HEADER, *ROWS]))
    assert (bars.venue, bars.symbol) == ("okx", "1000PEPE/USDT:USDT")
    assert bars.provenance == "Made by hand. Two: lines."
    assert read_bars(write(tmp_path, [*comments, HEADER, *ROWS], "mine.csv")).venue == "okx"


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("bybit_ETHUSDC_20250203_5m.csv", "ETH/USDC:USDC"),
        ("ftx-spot_BTCUSDT.csv", "BTC/USDT:USDT"),
        ("binanceusdm_BTCBUSD_FULLHISTORY_1h.csv", "BTC/BUSD:BUSD"),
        ("binancecoinm_AVAXUSD_PERP_20251010_1s.csv", "AVAX/USD:AVAX"),
        ("bybit_BTCUSD_20251010_1s.csv", "BTC/USD:BTC"),
    ],
)
def test_symbol_from_the_name_of_the_file(tmp_path: Path, name: str, symbol: str) -> None:
    assert read_bars(write(tmp_path, [HEADER, *ROWS], name)).symbol == symbol


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bybit_USD_20251010_1s.csv", "symbol: .*'USD'"),
        ("kraken_BTCEUR_1h.csv", r"symbol: expected a symbol that ends with USDT.* was 'BTCEUR'"),
        ("binanceusdm_USDT_1h.csv", "symbol: .*'USDT'"),
        ("mine.csv", "name: expected VENUE_SYMBOL_.*was 'mine.csv'"),
        ("mine.txt", "name: expected .csv, .csv.gz or .parquet at its end, was 'mine.txt'"),
    ],
)
def test_refuses_what_the_name_says(tmp_path: Path, name: str, reason: str) -> None:
    path = write(tmp_path, [HEADER, *ROWS], name)
    with pytest.raises(DataError, match=reason):
        read_bars(path)


@pytest.mark.parametrize(
    ("line", "column", "cell", "reason"),
    [
        (
            3,
            "high",
            "x",
            "3: high: expected a number from 0.000000000001 to 1000000000000, was 'x'",
        ),
        (2, "low", "", "2: low: expected a number .*, was ''"),
        (2, "close", "NaN", "2: close: expected a number .*, was 'NaN'"),
        (2, "close", "sNaN", "2: close: expected a number .*, was 'sNaN'"),
        (2, "high", "inf", "2: high: expected a number .*, was 'inf'"),
        (4, "open", "0", "4: open: expected a number .*, was '0'"),
        (4, "open", "-105", "4: open: expected a number .*, was '-105'"),
        (5, "high", "104.9", "5: high: expected the greatest price of the bar, 105, was '104.9'"),
        (5, "low", "105.1", "5: low: expected the smallest price of the bar, 105, was '105.1'"),
        (2, "open", "111", "2: high: expected the greatest price of the bar, 111, was '110'"),
        (2, "open", "89", "2: low: expected the smallest price of the bar, 89, was '90'"),
        (3, "mark", "", "3: mark: expected a number .*, was ''"),
        (3, "mark", "105.6", "3: mark_high: expected the greatest .* 105.6, was '105.5'"),
        (3, "mark_open", "104", "3: mark_low: expected the smallest .* 104, was '104.25'"),
        (2, "volume", "nan", "2: volume: expected a number from 0 to .*, was 'nan'"),
        (2, "volume", "-1", "2: volume: expected a number from 0 to .*, was '-1'"),
        (2, "funding_rate", "nan", "2: funding_rate: expected a number from -1 to 1, was 'nan'"),
        (2, "funding_rate", "1.01", "2: funding_rate: .*, was '1.01'"),
        (2, "ts_ms", "1583971200", "2: ts_ms: expected milliseconds since 1970.*'1583971200'"),
        (2, "ts_ms", "158397120000x", "2: ts_ms: expected milliseconds since 1970"),
        (3, "ts_ms", "1583971200000", "3: ts_ms: expected a new time, .* was 1583971200000"),
        (4, "ts_ms", "1583970000000", "4: ts_ms: expected a time after .* 1583974800000, was"),
        (5, "ts_ms", "1583985600000", "5: ts_ms: expected no gap: 1583982000000, 3600000 ms"),
        (5, "ts_ms", "1583980000000", "5: ts_ms: expected no gap: .*, was 1583980000000"),
    ],
)
def test_refuses_a_cell(tmp_path: Path, line: int, column: str, cell: str, reason: str) -> None:
    lines = [HEADER, *ROWS]
    cells = lines[line - 1].split(",")
    cells[HEADER.split(",").index(column)] = cell
    lines[line - 1] = ",".join(cells)
    path = write(tmp_path, lines)
    with pytest.raises(DataError, match=f"{NAME}:{reason}"):
        read_bars(path)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], ":1: header: expected ts_ms,open,high,low,close,volume, was nothing"),
        (["# only a comment"], ":2: header: expected ts_ms,"),
        ([HEADER], ":2: rows: expected two or more, was 0"),
        ([HEADER, ROWS[0]], ":2: rows: expected two or more, was 1"),
        ([f"symbol,{HEADER}"], ":1: symbol: expected a file of one symbol"),
        ([HEADER.replace("close", "last")], ":1: last: expected one of close, .*, was unknown"),
        ([f"{HEADER},close"], ":1: close: expected once, was there 2x"),
        ([HEADER.replace("close,", "")], ":1: close: expected this column, was missing"),
        ([HEADER.replace(",mark,", ",")], ":1: mark: expected this column, was missing"),
        ([HEADER, ROWS[0] + ",1"], ":2: cells: expected 11 as in the header, was 12"),
        ([HEADER, ROWS[0], "", ROWS[1]], ":3: cells: expected 11 as in the header, was 1"),
        ([HEADER, ROWS[0], "# later", ROWS[1]], ":3: cells: "),
        (["# a", "# b", HEADER, ROWS[0], ROWS[0]], ":5: ts_ms: expected a new time"),
    ],
)
def test_refuses_a_shape(tmp_path: Path, lines: list[str], reason: str) -> None:
    path = tmp_path / NAME
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=f"{NAME}{reason}"):
        read_bars(path)


def test_bars_shorter_than_a_second_are_refused(tmp_path: Path) -> None:
    rows = [f"{1583971200000 + 500 * index},1,1,1,1,0" for index in range(3)]
    message = refusal(write(tmp_path, ["ts_ms,open,high,low,close,volume", *rows]))
    assert ":3: ts_ms: expected bars of 1000 ms or longer, was 1583971200500" in message


def test_a_missing_file_names_the_scenarios() -> None:
    names = ", ".join(scenario_names())
    assert "2020-03-12-btc" in names
    expected = f"expected a file or a scenario ({names}), was neither"
    assert refusal("no-such.csv") == f"no-such.csv: {expected}"
    assert refusal("quiet-weak-btc") == (
        f"quiet-weak-btc: {expected}; did you mean quiet-week-btc?"
    )
    assert refusal("2020-03-12-btc.csv").endswith("; did you mean 2020-03-12-btc?")


def test_a_folder_or_an_impossible_name_is_one_line(tmp_path: Path) -> None:
    assert "expected a readable file, was: " in refusal(tmp_path)
    assert "expected a readable file, was: " in refusal("a\0b")


@pytest.mark.parametrize("cut", [0, 5, 30, -1])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / f"{NAME}.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *ROWS]).encode())[:cut])
    message = refusal(path)
    # gzip takes an empty file for an empty archive.
    assert ("expected a whole gzip file" if cut else ":1: header: expected") in message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"\xff\xfe" + HEADER.encode())
    assert "expected UTF-8 text" in refusal(path)


@pytest.mark.parametrize("name", [NAME, f"{NAME}.gz"])
def test_a_damaged_byte_is_harmless_or_refused_and_raises_nothing_else(
    tmp_path: Path, name: str
) -> None:
    text = "\n".join([HEADER, *ROWS]).encode()
    content = gzip.compress(text) if name.endswith(".gz") else text
    chance = random.Random(7)
    path = tmp_path / name
    for _ in range(2000):
        position = chance.randrange(len(content))
        damaged = content[:position] + bytes([chance.randrange(256)]) + content[position + 1 :]
        path.write_bytes(damaged)
        with suppress(DataError):
            read_bars(path)
