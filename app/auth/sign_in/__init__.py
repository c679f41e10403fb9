"""Ways in and the one gate where all of them end.

A passkey's is `webauthn/services_passkey.py`, recovery's `recovery/services_recovery_links.py`.
Start with `services_gate.py`.
"""
