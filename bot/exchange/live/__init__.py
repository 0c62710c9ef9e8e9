"""Real venues behind the ports, through ccxt."""
