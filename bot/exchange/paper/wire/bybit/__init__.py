"""The same exchange in Bybit's words: version 5 of its protocol, linear contracts only."""
