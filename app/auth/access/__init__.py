"""A platform's administrator in another tenant: for a reason, until a time, told to both (K5).

Start in `services_access_contexts.py`. What a tenant sees of it is `services_access_list.py`.
"""
