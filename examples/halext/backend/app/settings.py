"""What the environment says. A missing or unsafe value ends the program before it opens a port."""

import os
import sys
from dataclasses import dataclass

from cryptography.fernet import Fernet

# Written in examples and in dev.sh: known to everybody, so good for a laptop only.
KNOWN = {"change-me", "changeme", "secret", "dev", "dev-secret-key-of-no-worth-at-all-000"}
DEV = {
    "DATABASE_URL": "sqlite:///halext.db",
    "ACCESS_CODE": "dev",
    "SECRET_KEY": "dev-secret-key-of-no-worth-at-all-000",
    "API_KEY_ENCRYPTION_KEY": "ZGV2LW9ubHktZGV2LW9ubHktZGV2LW9ubHktZGV2ISE=",
}
PROVIDERS = ("mock", "ollama", "openwebui")


@dataclass(frozen=True)
class Settings:
    dev: bool
    database_url: str
    access_code: str
    secret_key: str
    encryption_key: str
    admins: frozenset[str]
    provider: str
    ollama_url: str
    openwebui_url: str
    redis_url: str
    webhook: str
    gate: str
    gate_command: str
    token_minutes: int
    check_seconds: float
    answer_seconds: float
    log_level: str


def driver(url: str) -> str:
    """`postgresql://` names no driver, and SQLAlchemy's own choice is not the one installed here."""
    scheme, colon, rest = url.partition(":")
    return f"postgresql+psycopg:{rest}" if colon and scheme in ("postgres", "postgresql") else url


def load(env) -> Settings:
    """Raises ValueError with a line for each thing that is wrong."""
    dev = env.get("DEV_MODE", "").lower() in ("1", "true", "yes")
    wrong = []

    def needed(name):
        value = env.get(name, "").strip() or (DEV[name] if dev else "")
        if not value:
            wrong.append(f"{name} is not set")
        elif not dev and (value in KNOWN or value == DEV[name]):
            wrong.append(f"{name} has the value of an example: choose another")
        return value

    def number(name, default, least):
        try:
            value = type(default)(env.get(name) or default)
            if value >= least:
                return value
        except ValueError:
            pass
        wrong.append(f"{name} must be a number of at least {least}")
        return default

    database_url = driver(needed("DATABASE_URL"))
    if database_url.startswith("sqlite") and not dev:
        wrong.append("DATABASE_URL: SQLite is for DEV_MODE only")
    secret_key = needed("SECRET_KEY")
    if secret_key and len(secret_key) < 32:
        wrong.append("SECRET_KEY must have 32 characters or more")
    encryption_key = needed("API_KEY_ENCRYPTION_KEY")
    try:
        encryption_key and Fernet(encryption_key)
    except ValueError:
        wrong.append("API_KEY_ENCRYPTION_KEY must be a Fernet key: 32 bytes in base64")
    provider = env.get("AI_PROVIDER") or "mock"
    if provider not in PROVIDERS:
        wrong.append(f"AI_PROVIDER must be one of {', '.join(PROVIDERS)}")
    if provider != "mock" and not env.get(f"{provider.upper()}_URL"):
        wrong.append(f"AI_PROVIDER={provider} needs {provider.upper()}_URL")

    settings = Settings(
        dev=dev,
        database_url=database_url,
        access_code=needed("ACCESS_CODE"),
        secret_key=secret_key,
        encryption_key=encryption_key,
        admins=frozenset(env.get("ADMIN_USERNAMES", "").lower().replace(",", " ").split()),
        provider=provider,
        ollama_url=env.get("OLLAMA_URL", "").rstrip("/"),
        openwebui_url=env.get("OPENWEBUI_URL", "").rstrip("/"),
        redis_url=env.get("REDIS_URL", ""),
        webhook=env.get("ALERT_WEBHOOK_URL", ""),
        gate=env.get("HOSTKIT_GATE")
        or f"/run/hostkit/apps/{env.get('PROJECT_NAME') or 'halext'}.sock",
        gate_command=env.get("HOSTKIT_GATE_COMMAND") or "deploy --only frontend",
        token_minutes=number("TOKEN_MINUTES", 30, 1),
        check_seconds=number("NODE_CHECK_SECONDS", 60.0, 1),
        answer_seconds=number("NODE_ANSWER_SECONDS", 60.0, 0.1),
        log_level=env.get("LOG_LEVEL", "info").upper(),
    )
    if wrong:
        raise ValueError("\n".join(wrong))
    return settings


try:
    settings = load(os.environ)
except ValueError as error:
    sys.exit(f"halext cannot start:\n{error}")
