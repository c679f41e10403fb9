"""Entry point of WSGI servers and of `flask --app wsgi`.

Configured by the environment or `.env`; see `docs/howto/deploy.md`.
"""

from app import create_app

app = create_app()
