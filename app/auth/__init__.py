"""Authentication: proving who someone is, and what follows from it.

One room for each part: `sign_in` (ways in, and the one gate), `sessions`, `accounts`,
`passwords`, `mfa`, `webauthn`, `recovery`, `web` (the request's side); plug-ins in
`factors`. Start with `sign_in/services_gate.py` and `security.py` (the decorators a host
uses).
"""
