"""A finished model to a model hub."""

from __future__ import annotations

from pathlib import Path

from ochat_ray.errors import OchatError, one_line
from ochat_ray.progress import say


def push(folder: Path, name: str) -> None:
    """Upload a folder to OWNER/NAME, a private repository if there is none yet; again, only what changed.

    Raises OchatError where the hub cannot be reached or refuses; the folder stays as it is.
    """
    import httpx
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    hub = HfApi()
    try:
        hub.create_repo(name, private=True, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Trained by ochat-ray")
    except (OSError, ValueError, HfHubHTTPError, httpx.HTTPError) as error:
        raise OchatError(
            f"{folder}: trained, but could not be uploaded to {name} at {constants.ENDPOINT} "
            f"({one_line(error)}); set HF_TOKEN to one that may write there, and run the same "
            "command again"
        ) from error
    say(f"train: uploaded to {constants.ENDPOINT}/{name}")
