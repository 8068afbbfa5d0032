"""The Hugging Face Hub: rl_zoo3's commands for it, mended for the versions that are installed."""

import sys
from pathlib import Path
from typing import Any


def mend_hub() -> None:
    """
    Make rl_zoo3's ``push_to_hub`` and its downloads work with the versions of huggingface_sb3 and huggingface_hub that
    rl_zoo3 2.9.2 asks for, and its model cards name commands that know our algorithms and environments.
    """
    import huggingface_sb3
    from huggingface_hub import repocard
    from huggingface_hub.errors import EntryNotFoundError

    push, download, save = sys.modules["huggingface_sb3.push_to_hub"], huggingface_sb3.load_from_hub, repocard.metadata_save
    if not hasattr(push, "generate_metadata"):
        # Another name since version 3, and ModelCardData instead of a dict
        push.generate_metadata = lambda *args: push._generate_metadata(*args).to_dict()  # type: ignore[attr-defined]

    def load_from_hub(*args: Any, **kwargs: Any) -> str:
        try:
            return download(*args, **kwargs)
        except EntryNotFoundError as error:
            # What rl_zoo3 expects where an agent has no VecNormalize; huggingface_hub no longer uses requests
            from requests import HTTPError

            raise HTTPError(str(error)) from error

    def metadata_save(local_path: str | Path, data: dict[str, Any]) -> None:
        path = Path(local_path)
        card = path.read_text(encoding="utf-8").replace("python -m rl_zoo3.", "python -m sb3_maxent.zoo ")
        path.write_text(card.replace("pip install rl_zoo3", 'pip install "sb3_maxent[zoo]"'), encoding="utf-8")
        save(local_path, data)

    huggingface_sb3.load_from_hub = load_from_hub
    repocard.metadata_save = metadata_save
