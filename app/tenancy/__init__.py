"""Tenancy: tenants (the isolation boundary) and organizations inside one.

A single default tenant needs no configuration. Scoping of queries is
`core/scoping.py`; who may act in a tenant is `authz`.
"""
