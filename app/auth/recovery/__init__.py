"""Recovery of an account whose second factors are lost: opened, proved, decided, completed.

It never signs anybody in. Start with `services_recovery.py`.
"""
