"""Tenants below one's own: made, renamed, given a host, suspended, reactivated.

The tree is walked in `services_tenants_below`, changed in `services_tenant_admin`; the pages
are in `routes_admin_tenants`. Which address names which tenant is `tenancy/services_addresses`.
"""
