"""Authentication: proving who someone is, and what follows from it.

Accounts, passwords, factors, sessions, the sign-in gate, and the pages for
people and administrators. Start with `services_gate.py` (the one gate) and
`security.py` (the decorators a host uses).
"""
