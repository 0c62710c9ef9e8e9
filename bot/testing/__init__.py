"""
The test kit: builders of instruments, positions, accounts and policies with sane values.

Public, for the tests of this project and of whoever writes a verb; nothing in `bot` imports it.
"""
