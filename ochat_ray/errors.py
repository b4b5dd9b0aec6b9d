"""What a user can do wrong. Our own mistakes are assertions; everything here is meant to be read.

Each message names the file, line or field, the value found there, and the remedy. The command line
prints it as one line and exits with `exit_code`; the server turns `RequestError` into a 400.
"""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """What any error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


class OchatError(ValueError):
    """Base of every error that a user can cause and mend."""

    exit_code = 2


class ConfigError(OchatError):
    """A recipe, model type or command line that does not hold together."""


class DataError(OchatError):
    """Input conversations, token files or their manifest cannot be used."""


class CheckpointError(OchatError):
    """A base model, checkpoint or exported folder cannot be used."""


class ClusterError(OchatError):
    """The Ray cluster died under the work, which running again mends.

    Whoever raises it has told of it: Ray may end the process while it disconnects from a dead cluster.
    """


class RequestError(OchatError):
    """A request to the served model that cannot be answered as asked."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
