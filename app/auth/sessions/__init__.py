"""Server-side sessions, their look-up, and the devices they run on.

Who opens one is decided in `sign_in/services_gate.py`. Start with `services_sessions.py`.
"""
