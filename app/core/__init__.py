"""Foundation: everything that knows Flask's app object at most, and never a table.

Owns time, randomness, the network, keys, hashing, settings, typed errors, the
database base class, tenant scoping and the unit of work. Refuses to own any
business rule. Start with `db.py` (transactions, scoping) and `errors.py`.
"""
