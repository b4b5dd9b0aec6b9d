"""The chat page: its layout, and what its parts do.

`page.js` (`ochat.*` below) keeps conversations, settings and, if wished, the key in the browser's storage;
the server keeps nothing between two events but the file of feedback. A question that gets no answer, for
whatever reason, goes back to the text box, so that turns always alternate.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from ochat_ray.config.web import ChatPageConfig
from ochat_ray.serve.web.endpoint import Endpoint
from ochat_ray.serve.web.replies import Replies
from ochat_ray.serve.web.texts import CHINESE, ENGLISH

I18N = gr.I18n(**{"en": ENGLISH, **dict.fromkeys(("zh", "zh-CN", "zh-SG", "zh-TW", "zh-HK"), CHINESE)})
LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
    {"left": "$", "right": "$", "display": False},
]
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}  # of every event


class Parts:
    """The components of the page, laid out. `options` are parameters of a request by their names."""

    def __init__(self, config: ChatPageConfig) -> None:
        with gr.Sidebar(width=300, elem_id="ochat-side") as self.side:
            gr.Markdown(f"## {config.title}", elem_id="ochat-title")
            self.new = gr.Button(I18N("new"), elem_id="ochat-new")
            self.chats = gr.Radio([], label=I18N("chats"), elem_id="ochat-chats")
            with gr.Row():
                self.export = gr.Button(I18N("export"), size="sm", min_width=60, elem_id="ochat-export")
                self.delete = gr.Button(I18N("delete"), size="sm", min_width=60, elem_id="ochat-delete")
            with gr.Accordion(I18N("access"), elem_id="ochat-access"):
                self.model = gr.Dropdown(
                    [], label=I18N("model"), allow_custom_value=True, elem_id="ochat-model"
                )
                self.key = gr.Textbox(
                    label=I18N("key"),
                    info=I18N("key_info"),
                    type="password",
                    max_lines=1,
                    elem_id="ochat-key",
                )
                self.remember = gr.Checkbox(label=I18N("remember"), elem_id="ochat-remember")
            with gr.Accordion(I18N("sampling"), open=False, elem_id="ochat-sampling"):
                self.options = _options()
            self.dark = gr.Button(I18N("dark"), size="sm", elem_id="ochat-dark")
        self.current = gr.Textbox(visible=False)  # for what the radio has no choices of on the server
        self.chat = gr.Chatbot(
            show_label=False,
            container=False,
            height="100%",
            layout="bubble",
            placeholder=str(I18N("placeholder")),
            latex_delimiters=LATEX,
            buttons=["copy"],
            editable="user",
            feedback_options=("Like", "Dislike") if config.feedback else (),
            allow_file_downloads=False,
            elem_id="ochat-chat",
        )
        self.error = gr.HTML(visible=False, elem_id="ochat-error")
        with gr.Row(elem_id="ochat-ask"):
            self.message = gr.Textbox(
                placeholder=I18N("write"),
                label=I18N("message"),
                show_label=False,
                container=False,
                lines=1,
                max_lines=8,
                autofocus=True,
                scale=8,
                elem_id="ochat-message",
            )
            self.send = gr.Button(I18N("send"), variant="primary", min_width=80, elem_id="ochat-send")
            self.stop = gr.Button(
                I18N("stop"), variant="stop", min_width=80, visible=False, elem_id="ochat-stop"
            )


def _options() -> dict[str, Any]:
    return {
        "system": gr.Textbox(label=I18N("system"), lines=2, max_lines=6, elem_id="ochat-system"),
        "condition": gr.Dropdown(
            [],
            label=I18N("condition"),
            info=I18N("condition_info"),
            allow_custom_value=True,
            elem_id="ochat-condition",
        ),
        "temperature": gr.Slider(
            0, 2, 0.7, step=0.05, label=I18N("temperature"), elem_id="ochat-temperature"
        ),
        "top_p": gr.Slider(0, 1, 1, step=0.01, label=I18N("top_p")),
        "max_tokens": gr.Number(None, label=I18N("max_tokens"), precision=0, minimum=1),
        "seed": gr.Number(None, label=I18N("seed"), precision=0),
        "stop": gr.Textbox(label=I18N("stops"), lines=1, max_lines=4, elem_id="ochat-stops"),
        "presence_penalty": gr.Slider(-2, 2, 0, step=0.1, label=I18N("presence")),
        "frequency_penalty": gr.Slider(-2, 2, 0, step=0.1, label=I18N("frequency")),
    }


def build_page(config: ChatPageConfig, base_url: str) -> gr.Blocks:
    """The page over the endpoint at `base_url`, which ends in /v1."""
    page = gr.Blocks(analytics_enabled=False, title=config.title, fill_height=True)
    with page:
        parts = Parts(config)
        replies = Replies(Endpoint(base_url), config, list(parts.options))
        _connect(page, parts, replies)
        if config.feedback:
            _connect_thumbs(parts, replies)
    # A stream lasts as long as its answer, so there is no bound on how many run; joining has one.
    page.queue(default_concurrency_limit=None, max_size=1000)
    return page


def _connect(page: gr.Blocks, parts: Parts, replies: Replies) -> None:
    options = list(parts.options.values())
    kept = [parts.model, *options]
    asked = [parts.chat, parts.key, parts.model, *options]
    shown = [parts.chat, parts.message, parts.error, parts.send, parts.stop]
    own = [parts.options["system"], parts.options["condition"]]
    opened = [parts.side, parts.chat, parts.message, parts.error, *own]
    models = ([parts.key, parts.model], [parts.model, parts.options["condition"], parts.error])
    chosen = "(key, model) => [key, model || ochat.model()]"

    page.load(
        None,
        js="() => ochat.start()",
        outputs=[parts.chats, *opened, parts.key, parts.remember, *options[2:]],
        **QUIET,
    ).then(None, js="() => ochat.ready()", **QUIET).then(replies.models, *models, js=chosen, **QUIET)
    gr.on([parts.key.submit, parts.key.blur], replies.models, *models, js=chosen, **QUIET)
    gr.on(
        [parts.key.change, parts.remember.change],
        None,
        js="(key, remember) => ochat.keepKey(key, remember)",
        inputs=[parts.key, parts.remember],
        outputs=parts.error,
        **QUIET,
    )

    asking = gr.on(
        [parts.message.submit, parts.send.click],
        None,
        js="(message, chat) => ochat.ask(message, chat)",
        inputs=[parts.message, parts.chat],
        outputs=[parts.message, parts.chat, parts.error],
        **QUIET,
    ).then(replies.ask, asked, shown, **QUIET)
    retrying = parts.chat.retry(replies.retry, asked, shown, **QUIET)
    editing = parts.chat.edit(replies.edit, asked, shown, **QUIET)
    running = [asking, retrying, editing]

    # Cancelling ends a stream in the browser at once, so nothing of it lands in another conversation.
    parts.stop.click(
        None,
        js="(chat, message) => ochat.stop(chat, message)",
        inputs=[parts.chat, parts.message],
        outputs=shown,
        cancels=running,
        **QUIET,
    )
    idle = [*opened, parts.send, parts.stop]
    parts.chats.input(
        None, js="(id) => ochat.open(id)", inputs=parts.chats, outputs=idle, cancels=running, **QUIET
    )
    for button, what in ((parts.new, "fresh"), (parts.delete, "remove")):
        button.click(None, js=f"() => ochat.{what}()", outputs=[parts.chats, *idle], cancels=running, **QUIET)

    gr.on(
        [parts.chat.change, *(part.change for part in kept)],
        None,
        js=f"(chat, ...values) => ochat.keep(chat, values, {['model', *parts.options]!r})",
        inputs=[parts.chat, *kept],
        outputs=parts.chats,
        **QUIET,
    )
    parts.export.click(None, js="() => ochat.export()", **QUIET)
    parts.dark.click(None, js="() => ochat.dark()", **QUIET)


def _connect_thumbs(parts: Parts, replies: Replies) -> None:
    parts.chat.like(
        replies.judge,
        [parts.chat, parts.current, parts.key, parts.model, *parts.options.values()],
        parts.error,
        js="(chat, current, ...rest) => [chat, ochat.current(), ...rest]",
        **QUIET,
    )
