"""A line of JSON for each thing that happens, on standard output."""

import json
import logging
import sys
from datetime import UTC, datetime

from .settings import settings

logger = logging.getLogger("halext")


class AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        } | getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def event(name: str, level: int = logging.INFO, **fields):
    """What secrets there are must not be among the fields."""
    logger.log(level, name, extra={"fields": fields})


def set_up():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(AsJson())
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    # We log requests ourselves, with their duration; httpx and uvicorn need not do so again.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("httpx").setLevel(logging.WARNING)
