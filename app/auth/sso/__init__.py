"""Single sign-on as relying party: what `services_sso.py` and `routes_sso.py` are made of.

Values (`connection`, `userinfo`), the protocol side (`transport`, `metadata`, `id_token`),
and services of connections, identities and logout. What differs between providers is in
`auth/providers`, one file each. Refuses to decide who may enter: that is the sign-in gate.
"""
