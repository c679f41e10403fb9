"""Passwords: policy, history, change, links that set one.

Signing in with one is `sign_in/services_login.py`. Start with `services_password.py`.
"""
