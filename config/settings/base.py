"""Every setting of the portal; what an operator changes comes from the environment.

| variable             | default                   | meaning                                          |
|----------------------|---------------------------|--------------------------------------------------|
| `YARDMASTER_DATA`    | `var/` in the project     | database, files, vault, keys of this installation |
| `DATABASE_URL`       | SQLite in the data folder | `postgres://user:password@host:5432/name`        |
| `CELERY_BROKER_URL`  | folders in the data folder | `redis://host:6379/0`                           |
| `PUBLIC_URL`         | `http://127.0.0.1:8000`   | the address that people and agents use           |
| `ALLOWED_HOSTS`      | host of `PUBLIC_URL`, loopback | other host names, comma-separated           |
| `SECRET_KEY`         | a file made at first start | signs sessions                                  |
| `CREDENTIAL_KEYS`    | a file made at the first secret | encrypt credentials, comma-separated, the newest first; needed where several hosts serve |
| `TRUSTED_PROXIES`    | 1 in production, else 0   | proxies in front, each of which adds to `X-Forwarded-For`; 0: the header is not read |
| `VAULT_ROOT`         | `vault/` in the data folder | snapshots; a shared volume when several hosts serve |
| `STORAGE_URL`        | `files/` in the data folder | `s3://key:secret@host:port/bucket/prefix?region=…`: files of runs, inputs, large content; without key and host AWS with the environment's credentials. `endpoint=` a whole address instead of the host, `tls=no` plain http, `timeout=` seconds for an answer (15), `downloads=portal` sends files through the portal where people cannot reach the storage |
| `STORAGE_LIMIT_MB`   | 0: none                   | what an organization without a limit of its own may keep: files of runs, inputs, snapshots |
| `EMAIL_URL`          | files in `mail/` in the data folder | `smtp+tls://user:password@host:587`: the server that takes mail; `smtps://` is TLS from the start, `smtp://` plain |
| `EMAIL_FROM`         | `yardmaster@` the host of `PUBLIC_URL` | the sender of mail                  |
| `INVITATION_DAYS`    | 7                         | how long an invitation can be accepted           |
| `OIDC_URL`           | none                      | the issuer of an OpenID Connect provider, such as `https://login.example.com/realms/works`: its people log in with it |
| `OIDC_CLIENT_ID`     | none                      | the portal's id there                            |
| `OIDC_CLIENT_SECRET` | none                      | the portal's secret there                        |
| `OIDC_NAME`          | `single sign-on`          | what the button says                             |
| `OIDC_ORGANIZATION`  | none: by invitation       | name of the organization that everyone joins, as a member, whom the provider lets in |
| `OIDC_TRUST_EMAIL`   | no                        | take its addresses for verified where it does not say so |
| `MESSAGE_MODEL_URL`  | none                      | OpenAI-compatible address, such as `https://host/v1`: a language model that words commit messages, for jobs that ask for it |
| `MESSAGE_MODEL`      | none                      | the model's name there                           |
| `MESSAGE_MODEL_KEY`  | none                      | the key that is sent to it                       |
| `MESSAGE_MODEL_TIMEOUT_S` | 10                   | an answer that takes longer is not waited for    |
| `SECURE_SSL_REDIRECT` | yes if `PUBLIC_URL` is https | production sends http on to https            |
| `LOG_FORMAT`         | `json` in production, else `plain` | lines for programs, with each request, or for people |
| `METRICS_TOKEN`      | none: this machine alone  | who sends it as a bearer token may read `/metrics` |
| `MONITOR_URL`        | none                      | an outside monitor's address, fetched once a minute while all is well; `/fail` is added while something is late |
| `SECURE_HSTS_SECONDS` | a year if `PUBLIC_URL` is https, else 0 | how long browsers insist on https |
"""

import os
import platform
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from config import logs
from config.environment import Environment, made_folder
from config.mail_url import mail_at
from config.storage_url import storage_at

BASE_DIR = Path(__file__).resolve().parents[2]
env = Environment()

DATA_DIR = made_folder(Path(env.str("YARDMASTER_DATA", default=str(BASE_DIR / "var"))).resolve())


def kept_secret(path: Path) -> str:
    """Read the secret in `path`, or make one there that its owner alone can read."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return path.read_text().strip()


SECRET_KEY = env.str("SECRET_KEY", default="") or kept_secret(DATA_DIR / "secret-key")
# Else they lie in `credential-keys` in the data folder (sites.encryption).
CREDENTIAL_KEYS = env.list("CREDENTIAL_KEYS", default=[])
DEBUG = False
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = [
    *env.list("ALLOWED_HOSTS", default=[]),
    urlsplit(PUBLIC_URL).hostname or "127.0.0.1",
    "127.0.0.1",
    "localhost",
    "[::1]",
]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # without its own admin site: ours is named below
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.guardian",
    "config.apps.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "guardian",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "auditlog",
    "csp",
    "django_structlog",
    "sites",
    "agents",
    "jobs",
    "notifications",
    "config",
]

MIDDLEWARE = [
    "sites.middleware.client_address",
    "config.middleware.told_apart",
    # Before all others, so that agents pay for no session, CSRF check or audit (measured in bench/).
    "config.middleware.agents_first",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "sites.middleware.last_seen",
    "sites.middleware.current_organization",
    "sites.middleware.storage_unavailable",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "sites.views.frame.frame",
            ],
        },
    }
]

# --- database: one code path, two sizes ----------------------------------------------------------
DATABASES = {
    "default": env.database("DATABASE_URL", default=f"sqlite:///{DATA_DIR}/portal.sqlite3")
}
_database = DATABASES["default"]
_database["ATOMIC_REQUESTS"] = False  # only rule functions open transactions
_database["CONN_MAX_AGE"] = None
if _database["ENGINE"].endswith("sqlite3"):
    _database["ENGINE"] = "config.sqlite"  # Django's own, whose writers wait for their turn
    # With deferred transactions, readers that turn into writers fail at once with "locked".
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32000;"
            "PRAGMA mmap_size=268435456; PRAGMA temp_store=MEMORY;"
        ),
    }
else:
    _database["OPTIONS"] = {
        # The live reader re-reads gaps in Event ids for 30 s: no transaction may be longer.
        "options": "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=30000"
        # A row that an index leads to lies in memory or on an SSD. PostgreSQL's own 4 is a disk's:
        # the 50 rows of a list would be joined with whole tables.
        " -c random_page_cost=1.1"
        # Compiling a statement takes longer than any of ours; what is asked of a queue of 60,000
        # looks dear enough for it, though it ends with its first row.
        " -c jit=off",
        # The same statements come again and again: planned once per connection, not each time.
        "server_side_binding": True,
        "prepare_threshold": 2,
        **_database.get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "portal_cache",
    }
}

# --- people --------------------------------------------------------------------------------------
AUTH_USER_MODEL = "sites.User"
AUTHENTICATION_BACKENDS = [
    "allauth.account.auth_backends.AuthenticationBackend",
    "guardian.backends.ObjectPermissionBackend",
]
ANONYMOUS_USER_NAME = None
GUARDIAN_RAISE_403 = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_ADAPTER = "sites.accounts.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_FORMS = {"reset_password": "sites.forms.accounts.ForgottenPasswordForm"}
# Of mails to one address, whoever asks for them; the rest of allauth's limits stay.
ACCOUNT_RATE_LIMITS = {"reset_password": "20/m/ip,5/h/key"}
PASSWORD_RESET_TIMEOUT = 4 * 3600
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
MFA_ADAPTER = "sites.second_factors.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Yardmaster"
# Addresses come from administrators and invitations; allauth itself verifies none here.
MFA_ALLOW_UNVERIFIED_EMAIL = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = False

OIDC_URL = env.str("OIDC_URL", default="")
OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")
OIDC_ORGANIZATION = env.str("OIDC_ORGANIZATION", default="")
SOCIALACCOUNT_ADAPTER = "sites.accounts.SingleSignOnAdapter"
# An account is found by its address, which the provider must have verified, and is kept with it.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
# A form would have to be allowed to lead to the provider; the link changes nothing by itself.
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "sso",
                "name": OIDC_NAME,
                "client_id": env.str("OIDC_CLIENT_ID", default=""),
                "secret": env.str("OIDC_CLIENT_SECRET", default=""),
                "settings": {
                    "server_url": OIDC_URL,
                    "verified_email": env.bool("OIDC_TRUST_EMAIL", default=False),
                },
            }
        ]
        if OIDC_URL
        else [],
        "OAUTH_PKCE_ENABLED": True,
    }
}
INVITATION_DAYS = env.int("INVITATION_DAYS", default=7)

# --- mail ----------------------------------------------------------------------------------------
MAIL_FOLDER = DATA_DIR / "mail"
globals().update(mail_at(env.str("EMAIL_URL", default=""), MAIL_FOLDER))
DEFAULT_FROM_EMAIL = env.str(
    "EMAIL_FROM", default=f"Yardmaster <yardmaster@{urlsplit(PUBLIC_URL).hostname}>"
)

# --- REST ----------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "sites.api.authentication.TokenAuthentication",
        "sites.api.authentication.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["sites.api.parsing.StrictJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "sites.api.pages.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "sites.api.schema.ProblemSchema",
    "EXCEPTION_HANDLER": "sites.api.problems.handle",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Yardmaster",
    "DESCRIPTION": "Sites, agents, jobs and runs. Agents read docs/agent-protocol.md beside this.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "RunStatus": "jobs.states.Status",
        "RunReason": "jobs.states.Reason",
        "RunResult": "jobs.states.Result",
        "RecordStatus": "jobs.models.RunRecord.Status",
        "TargetKind": "sites.models.Target.Kind",
        "CredentialKind": "sites.models.Credential.Kind",
        "ScheduleKind": ["daily", "workdays", "weekly", "cron", "site"],
        "Role": "sites.models.Role",
        "ObjectRole": "sites.models.ObjectRole",
        "PlaceKind": ["site", "target", "pool"],
        "ProposalState": "jobs.models.Proposal.State",
        "AgentState": "agents.filters.STATES",
        "News": "notifications.news.News",
        "NewsLevel": "notifications.news.Level",
        "DeliveryState": "notifications.models.Delivery.State",
        "NotificationDecision": "notifications.models.Notification.Decision",
        "NotificationReason": "notifications.models.Notification.Reason",
        "NotificationBecause": "notifications.models.Notification.Because",
        # What an agent may report.
        "BegunStatus": ["running", "validating", "uploading"],
        "EndStatus": ["completed", "failed"],
        "EndReason": ["error", "agent_restarted"],
    },
}

# --- files ---------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = DATA_DIR / "files"
VAULT_ROOT = Path(env.str("VAULT_ROOT", default=str(DATA_DIR / "vault")))
STAGING_ROOT = DATA_DIR / "staging"
STORAGE_LIMIT_MB = env.int("STORAGE_LIMIT_MB", default=0)
STORAGES = {
    "default": storage_at(env.str("STORAGE_URL", default="")),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024 + 65536
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- tasks ---------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://localhost//")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "yardmaster"
if CELERY_BROKER_URL.startswith("filesystem:"):
    _broker = DATA_DIR / "broker"
    for _folder in ("messages", "control"):
        (_broker / _folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "messages"),
        "data_folder_out": str(_broker / "messages"),
        "control_folder": str(_broker / "control"),
        "polling_interval": 0.2,
    }

# Rule 30 (config/serving.py); 0: not at all.
SERVING_NOTED_EVERY_S = 5.0

# --- words of commit messages (jobs/message_model.py) --------------------------------------------
MESSAGE_MODEL_URL = env.str("MESSAGE_MODEL_URL", default="")
MESSAGE_MODEL = env.str("MESSAGE_MODEL", default="")
MESSAGE_MODEL_KEY = env.str("MESSAGE_MODEL_KEY", default="")
MESSAGE_MODEL_TIMEOUT_S = env.float("MESSAGE_MODEL_TIMEOUT_S", default=10.0)

# --- language, time ------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

# --- safety --------------------------------------------------------------------------------------
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
_SELF = "'self'"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [_SELF],
        "script-src": [_SELF],
        "style-src": [_SELF],
        "img-src": [_SELF, "data:"],
        "font-src": [_SELF],
        "connect-src": [_SELF],
        "object-src": ["'none'"],
        "base-uri": [_SELF],
        "form-action": [_SELF],
        "frame-ancestors": ["'none'"],
    }
}

# --- logs ----------------------------------------------------------------------------------------
LOGGING = logs.configured(env.str("LOG_FORMAT", default="plain"))
# Celery's lines look like all others: it leaves the root logger as LOGGING has made it.
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Ours, which config.middleware has put in the place of whatever the client sent.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True

# --- metrics -------------------------------------------------------------------------------------
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
MONITOR_URL = env.str("MONITOR_URL", default="")
# Process numbers are those of one machine, and the data folder may be shared by several.
METRICS_DIR = DATA_DIR / "metrics" / platform.node()

UNFOLD = {
    "SITE_TITLE": "Yardmaster",
    "SITE_HEADER": "Yardmaster",
    "SITE_SUBHEADER": "Administration",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_ICON": "config.admin_navigation.logo",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "config.admin_navigation.logo"}
    ],
    "COLORS": "config.admin_navigation.colors",
    "SIDEBAR": {"navigation": "config.admin_navigation.navigation"},
}
AUDITLOG_LOGENTRY_MODEL = "auditlog.LogEntry"
