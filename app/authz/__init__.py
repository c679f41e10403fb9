"""Authorization: roles, permissions, assignments and the resolved grant of a person.

`services_rbac` changes them and resolves them once per version; the decorators
that read the result live in `auth/security.py`.
"""
