"""Accounts and their life: created, found, changed, suspended, erased; a person's own contact data.

What an administrator's pages do to people is here, too. Start with `services_accounts.py`.
"""
