"""What people see in a browser: the chat page and the widget."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from ochat_ray.strict import StrictModel, absolute


class ChatPageConfig(StrictModel):
    """The chat page of the endpoint, /chat."""

    enabled: bool = True
    """Whether there is one; it needs the extra `ui`, and says so where that is missing."""
    title: str = "ochat-ray"
    """Title of the page."""
    feedback: str | None = None
    """Folder for what visitors think of answers, JSON Lines that `prepare` reads; null for no thumbs."""

    def resolved(self) -> ChatPageConfig:
        """The same with an absolute path: replicas run in folders of their own."""
        feedback = None if self.feedback is None else absolute(self.feedback)
        return self.replace(feedback=feedback)


class WidgetConfig(StrictModel):
    """The widget for other people's pages, /widget.js."""

    webhook: str | None = None
    """URL that gets a conversation by POST when a visitor asks for a person; null offers none."""
    secret_env: str | None = None
    """Environment variable with the secret that signs what the webhook gets (HMAC-SHA256); null for none."""

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("expected a URL such as https://example.com/handoff")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.secret_env is not None and self.webhook is None:
            raise ValueError(
                "secret_env signs what the webhook gets; give widget.webhook too, or leave it out"
            )
        return self
