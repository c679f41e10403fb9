"""WebAuthn (Level 3): parsing, checks, keys, attestation, challenges, the ceremonies.

The entry points are `auth/services_webauthn.py` and `auth/routes_webauthn.py`. Pure are the
modules named `webauthn_…`; start with `webauthn_checks.py`.
"""
