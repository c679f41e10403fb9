"""Benchmarks: `python -m tests.bench` (make bench). Ratios of one run, not absolute records.

Each figure is measured beside what it is compared with, in turns, so that another
load on the machine slows both. Requirements X3 and X4.
"""
