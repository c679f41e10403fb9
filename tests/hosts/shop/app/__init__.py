"""A host application: its own package is called `app`, its own extensions are in place.

It embeds the installed package `iam` the way `docs/howto/embed-in-your-app.md` says.
Runs in a process of its own, from the built wheel, never from the checkout.
"""

from __future__ import annotations

import os

from flask import Blueprint, Flask, render_template, request
from flask.views import MethodView
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

from iam import (
    IAM,
    current_user,
    guard,
    requires_login,
    requires_permission,
    requires_role,
    requires_step_up,
)
from iam.core.migrations import include_object

db = SQLAlchemy()
migrate = Migrate()
csrf = CSRFProtect()
limiter = Limiter(get_remote_address, default_limits=["5000 per minute"])
iam = IAM()


class Article(db.Model):  # type: ignore[name-defined,misc]
    """A table of the host's own."""

    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String(80), nullable=False)


def create_app() -> Flask:
    """Return the host application."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="the host's own secret key, long enough for a test",
        SQLALCHEMY_DATABASE_URI=os.environ["SHOP_DATABASE"],
        RATELIMIT_STORAGE_URI="memory://",
    )
    db.init_app(app)
    migrate.init_app(
        app, db, directory=os.environ["SHOP_MIGRATIONS"], include_object=include_object
    )
    csrf.init_app(app)
    limiter.init_app(app)
    iam.init_app(app)
    _add_views(app)
    app.register_blueprint(_backoffice())
    return app


def _add_views(app: Flask) -> None:
    app.add_url_rule("/", "home", lambda: render_template("home.html"))
    app.add_url_rule("/login", "login", lambda: render_template("login.html"))
    app.add_url_rule("/articles", "articles", articles)
    app.add_url_rule("/stock", view_func=Stock.as_view("stock"))
    app.add_url_rule("/contact", "contact", contact, methods=["GET", "POST"])
    app.add_url_rule("/payout", "payout", requires_step_up("mfa")(lambda: "payout"))


@requires_role("editor")
def articles() -> str:
    """Show what only editors may see: a protected function."""
    count = db.session.scalar(db.select(db.func.count()).select_from(Article))
    return f"articles: {count}, for {current_user.username}"


@requires_permission("user:read")
class Stock(MethodView):
    """A protected class-based view."""

    def get(self) -> str:
        """Show the stock."""
        return "stock"


def contact() -> str:
    """Answer a form of the host's own, under the host's own CSRF protection."""
    if request.method == "POST":
        return "thank you"
    return render_template("contact.html")


def _backoffice() -> Blueprint:
    bp = Blueprint("backoffice", __name__, url_prefix="/backoffice")
    guard(bp, requires_login)
    bp.add_url_rule("/", "home", lambda: f"backoffice of {current_user.username}")
    return bp
