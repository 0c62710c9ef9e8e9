"""What anybody may ask: contracts, prices, funding."""

from typing import Any

from bot.exchange.paper.wire.asked import Asked, Public, Route
from bot.exchange.paper.wire.listing import exchange_info, id_of, text
from bot.exchange.paper.wire.views import money


def _exchange_info(asked: Asked) -> Any:
    return exchange_info(asked.instruments(), asked.now_ms)


def _premium(asked: Asked) -> Any:
    rows = [asked.exchange.premium(each.symbol, asked.now_ms) for each in asked.instruments()]
    return asked.answer_one_or_all(rows)


def _funding_rates(asked: Asked) -> Any:
    since_ms, until_ms, limit = asked.span()
    wanted = {each.symbol for each in asked.instruments()}
    rows = [
        {
            "symbol": id_of(each.term.symbol),
            "fundingTime": each.term.next_at_ms,
            "fundingRate": text(each.term.rate),
            "markPrice": money(each.mark),
        }
        for each in asked.exchange.settled
        if each.term.symbol in wanted and since_ms <= each.term.next_at_ms <= until_ms
    ]
    return rows[-limit:]


def _funding_info(asked: Asked) -> Any:
    hour_ms = 3_600_000
    return [
        {
            "symbol": id_of(term.symbol),
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": max(1, round(term.interval_ms / hour_ms)),
            "disclaimer": False,
        }
        for term in asked.exchange.machine.terms.values()
    ]


def _klines(asked: Asked, of_mark: bool) -> Any:
    since_ms, until_ms, limit = asked.span()
    candles = asked.exchange.candles(asked.only().symbol, of_mark)
    return candles.rows(asked.parameters.text("interval"), since_ms, until_ms, limit)


def _ticker_price(asked: Asked) -> Any:
    quotes = asked.exchange.machine.quotes
    rows = [
        {
            "symbol": id_of(each.symbol),
            "price": text(quotes[each.symbol].last),
            "time": asked.now_ms,
        }
        for each in asked.instruments()
    ]
    return asked.answer_one_or_all(rows)


def _ticker_day(asked: Asked) -> Any:
    quotes = asked.exchange.machine.quotes
    rows = []
    for instrument in asked.instruments():
        symbol = instrument.symbol
        minutes = asked.exchange.candles(symbol, of_mark=False).day(asked.now_ms)
        last = quotes[symbol].last
        opened = minutes[0].open
        rows.append(
            {
                "symbol": id_of(symbol),
                "priceChange": text(last - opened),
                "priceChangePercent": f"{(last / opened - 1) * 100:.3f}",
                "weightedAvgPrice": text(last),
                "lastPrice": text(last),
                "lastQty": "0",
                "openPrice": text(opened),
                "highPrice": text(max(each.high for each in minutes)),
                "lowPrice": text(min(each.low for each in minutes)),
                "volume": "0",
                "quoteVolume": "0",
                "openTime": minutes[0].open_ms,
                "closeTime": asked.now_ms,
                "firstId": 0,
                "lastId": 0,
                "count": 0,
            }
        )
    return asked.answer_one_or_all(rows)


PUBLIC: dict[Route, Public] = {
    ("GET", "/fapi/v1/ping"): Public(1, lambda _: {}),
    ("GET", "/fapi/v1/time"): Public(1, lambda asked: {"serverTime": asked.now_ms}),
    ("GET", "/fapi/v1/exchangeInfo"): Public(1, _exchange_info),
    ("GET", "/fapi/v1/premiumIndex"): Public(1, _premium),
    ("GET", "/fapi/v1/fundingRate"): Public(1, _funding_rates),
    ("GET", "/fapi/v1/fundingInfo"): Public(1, _funding_info),
    ("GET", "/fapi/v1/klines"): Public(5, lambda asked: _klines(asked, of_mark=False)),
    ("GET", "/fapi/v1/markPriceKlines"): Public(5, lambda asked: _klines(asked, of_mark=True)),
    ("GET", "/fapi/v1/ticker/price"): Public(1, _ticker_price),
    ("GET", "/fapi/v2/ticker/price"): Public(1, _ticker_price),
    ("GET", "/fapi/v1/ticker/24hr"): Public(1, _ticker_day),
}
