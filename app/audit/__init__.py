"""The audit trail: what happened, who did it, from where; append-only.

`events.py` is the catalogue, `services_audit.record()` the only writer,
`routes_admin.py` the page. Knows nothing of users or roles: ids only.
"""
