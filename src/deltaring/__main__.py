"""`deltaring` and `python -m deltaring`: the command line, or how to get it."""

import sys


def main() -> None:
    """Run the command line; say what to install where its extra is missing."""
    try:
        from deltaring.cli import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"the deltaring command needs {error.name}: pip install 'deltaring[cli]'")
    app()


if __name__ == "__main__":
    main()
