"""liqguard: keeps perpetual-futures positions away from liquidation."""
