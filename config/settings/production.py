"""What the Procfile's processes use: behind a proxy that ends TLS."""

from config import logs

from .base import *  # noqa: F403
from .base import PUBLIC_URL, env

LOGGING = logs.configured(env.str("LOG_FORMAT", default="json"))

_https = PUBLIC_URL.startswith("https://")
# Without it every client has the proxy's address, and one that guesses locks all others out.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=1)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=_https)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31536000 if _https else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
