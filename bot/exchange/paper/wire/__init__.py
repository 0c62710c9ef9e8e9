"""The paper exchange as a server that unmodified Binance USD-M clients can trade on."""
