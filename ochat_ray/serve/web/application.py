"""The chat page as an ASGI application; without Gradio, a page that says what to install."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from ochat_ray.config.web import ChatPageConfig
from ochat_ray.serve.web.shell import Shell

STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:15vh auto;"
    "padding:0 1.25rem}code{padding:.15em .4em;border:1px solid #8888;border-radius:4px}"
)


def chat_asgi(config: ChatPageConfig, base_url: str) -> Any:
    """The page, to be mounted at a path of its own: `app.mount("/chat", chat_asgi(...))`.

    `base_url` is the endpoint's as the server reaches it, e.g. http://127.0.0.1:18888/v1.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, telemetry={"tracing": False})
    if find_spec("gradio") is None:
        app.add_api_route("/{path:path}", missing_page, methods=["GET"])
        return app
    import gradio as gr

    from ochat_ray.serve.web.page import I18N, build_page

    gr.mount_gradio_app(
        app,
        build_page(config, base_url),
        path="",
        i18n=I18N,
        footer_links=[],
        css_paths=Path(__file__).with_name("page.css"),
        show_error=False,
        max_file_size=0,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
    )
    return Shell(app)


def missing_page() -> HTMLResponse:
    """What /chat answers without the extra `ui`."""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Chat page</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        "<h1>The chat page is not installed</h1><p>Install it where the endpoint runs, and start that again: "
        "<code>pip install 'ochat-ray[ui]'</code></p><p>The endpoint itself answers; it is under "
        "<code>/v1</code>.</p></body></html>",
        status_code=501,
    )
