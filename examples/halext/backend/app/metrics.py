"""Figures for Prometheus, and the middleware that counts requests and logs them."""

import time

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from .log import event

disable_created_metrics()

REQUESTS = Counter("halext_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "halext_response_seconds",
    "Time to the end of an answer (p95: histogram_quantile)",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300),
)
ACTIVE = Gauge("halext_active_connections", "Requests and websockets that are open", ["type"])
MODELS = Counter("halext_model_usage", "Answers by who gave them", ["type", "model"])
NODES = Gauge("halext_node_availability", "1: the node is online", ["node"])

QUIET = {"/api/health", "/metrics"}


class Measure:
    """Plain ASGI, so that streams pass through as they are."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        status, begun = 500, time.perf_counter()

        async def note(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and status == 500:
                status = 403
            await send(message)

        active = ACTIVE.labels(scope["type"])
        active.inc()
        try:
            await self.app(scope, receive, note)
        finally:
            active.dec()
            seconds = time.perf_counter() - begun
            # The route and not the path: a label for each id would grow without end.
            route = getattr(scope.get("route"), "path", "none")
            method = scope.get("method", "WEBSOCKET")
            REQUESTS.labels(method, route, status).inc()
            if scope["type"] == "http":
                SECONDS.labels(route).observe(seconds)
            if scope["path"] not in QUIET:
                event(
                    "request",
                    method=method,
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1000, 1),
                )
