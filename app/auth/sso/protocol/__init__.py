"""OAuth 2.0 and OpenID Connect as a client speaks them: requests, documents, keys, tokens.

Nothing here knows a table. Start with `transport.py` (what goes out) and `id_token.py` (what
is believed of an answer).
"""
