"""Real servers and browsers for the test suite.

Owns how a MySQL server and a Chromium browser come to exist on a machine that
has neither. It owns no fixtures: those live in the `conftest.py` files.
"""
