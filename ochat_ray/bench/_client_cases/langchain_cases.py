# mypy: ignore-errors
# The packages that this imports are in an environment of its own.
"""langchain-tests' standard tests over langchain-openai's chat model and embeddings."""

from __future__ import annotations

import os
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

ENDPOINT = {
    "base_url": f"{os.environ['CLIENTS_URL']}/v1",
    "api_key": "none",
    "model": os.environ["CLIENTS_MODEL"],
    "max_retries": 0,
}


class TestChat(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # Random weights may not end.
        return {**ENDPOINT, "max_completion_tokens": 600, "stream_usage": True}

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        # The check of lengths fetches a vocabulary of OpenAI's.
        return {**ENDPOINT, "check_embedding_ctx_length": False}
