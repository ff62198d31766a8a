"""`python -m app`."""

import sys

try:
    from app.cli.main import main
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] == "app":
        raise
    # This is not the Python of the virtual environment.
    sys.exit(
        f"This Python has no {missing.name}. Run ./scripts/switchboard instead of python -m app; "
        "./scripts/serve installs what it needs into .venv."
    )

if __name__ == "__main__":
    main()
