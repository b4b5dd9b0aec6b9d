"""From saved chats to a served chat model, on one Ray cluster."""

__version__ = "0.1.0"
