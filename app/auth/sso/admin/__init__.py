"""Administration of connections and e-mail domains: pages, forms, and what stands behind them.

Start with `services_connection_admin`, which changes connections; `connection_values` says
what a connection may be. Signing in is not here: the parent package owns it.
"""
