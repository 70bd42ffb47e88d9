"""The pages that show the OpenAPI document: Swagger UI at `/docs`, Redoc at `/redoc`, without a network.

Their scripts come from the installed package fastapi-offline (the extra `docs`), which is read and never
imported. The pages may load nothing from elsewhere, and no script but these.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

PACKAGE = "fastapi_offline"
ASSETS = MappingProxyType(
    {
        "swagger-ui-bundle.js": "text/javascript",
        "swagger-ui.css": "text/css",
        "redoc.standalone.js": "text/javascript",
        "favicon.png": "image/png",
    }
)
MISSING = (
    "<p>This page needs the extra <code>docs</code>:"
    " <code>pip install 'haystack-mcp-server[docs]'</code>, then start the server again.</p>"
    "<p>The document it would show is at <a href='{root}/openapi.json'>openapi.json</a> and"
    " <a href='{root}/openapi.yaml'>openapi.yaml</a>.</p>"
)
SWAGGER = (
    '<link rel="stylesheet" href="{root}/docs/assets/swagger-ui.css"><div id="page"></div>'
    '<script src="{root}/docs/assets/swagger-ui-bundle.js"></script>'
)
START_SWAGGER = (
    "SwaggerUIBundle({{url: '{root}/openapi.json', dom_id: '#page', deepLinking: true, validatorUrl: null,"
    " docExpansion: 'list', defaultModelsExpandDepth: -1, displayRequestDuration: true, filter: true,"
    " tryItOutEnabled: true}})"
)
REDOC = '<div id="page"></div><script src="{root}/docs/assets/redoc.standalone.js"></script>'
START_REDOC = (
    "Redoc.init('{root}/openapi.json', {{hideDownloadButton: false, requiredPropsFirst: true,"
    " jsonSampleExpandLevel: 3}}, document.getElementById('page'))"
)
POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Only our own script runs; both libraries write styles into the page, and Redoc searches in a worker."""


def routes() -> list[Route]:
    """The pages with and without a slash, and what they load."""
    docs, redoc = page("Swagger UI", SWAGGER, START_SWAGGER), page("Redoc", REDOC, START_REDOC)
    pages = [
        Route(path + end, show) for path, show in (("/docs", docs), ("/redoc", redoc)) for end in ("", "/")
    ]
    return [*pages, Route("/docs/assets/{file}", asset)]


def folder() -> Path | None:
    """Where the assets are; None if the package is not installed. Looked for anew each time."""
    found = find_spec(PACKAGE)
    return Path(found.origin).parent / "static" if found and found.origin else None


def page(title: str, body: str, start: str) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of a page; without its assets it says how to get them."""

    async def show(request: Request) -> Response:
        root = quote(request.scope.get("root_path", ""))
        here = folder() is not None
        script = start.format(root=root) if here else ""
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        html = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title} – Haystack MCP server</title>"
            f'<link rel="icon" href="{root}/docs/assets/favicon.png">'
            "<style>body { margin: 0; font-family: sans-serif } body > p { margin: 2em }</style></head><body>"
            f"{(body if here else MISSING).format(root=root)}<script>{script}</script></body></html>"
        )
        headers = {"Content-Security-Policy": POLICY.format(digest=digest)}
        return HTMLResponse(html, 200 if here else 501, headers)

    return show


async def asset(request: Request) -> Response:
    """A file of the package, for a day."""
    name, place = request.path_params["file"], folder()
    if place is None or name not in ASSETS:
        raise HTTPException(404)
    return FileResponse(place / name, headers={"Cache-Control": "max-age=86400"}, media_type=ASSETS[name])
