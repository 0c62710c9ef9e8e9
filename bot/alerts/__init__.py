"""Alerts that leave the house: what is said, to whom, once, and until it has arrived."""
