"""Open JupyterLab on the first notebook of LENET_LANGUAGE; where there is no screen, print its address instead."""

import os
import subprocess
import sys
from pathlib import Path

from lenet_helpers.language import find_language

ROOT = Path(__file__).parents[1]


def main():
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--ServerApp.root_dir={ROOT}"]
    first = f"notebooks/{find_language()}/01_build_the_encoder.ipynb"
    command.append(f"--LabApp.default_url=/lab/tree/{first}")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        command.append("--no-browser")
        print("No screen here: open the address with the token that JupyterLab prints below.", flush=True)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    os.environ.pop("LENET_LANGUAGE", None)  # it chose the notebook; each notebook speaks its folder's language
    return subprocess.call(command + sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
