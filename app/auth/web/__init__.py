"""The request's side of the pages: blueprints, checks before a view, CSRF, cookies, answers.

Used by routes and decorators; services never import from here. Start with `current.py`.
"""
