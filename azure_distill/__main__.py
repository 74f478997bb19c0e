"""`python -m azure_distill` is the command line."""

from azure_distill.cli.main import main

if __name__ == "__main__":
    main()
