"""`python -m numpyvision` is the command line."""
from numpyvision.cli import main

if __name__ == "__main__":
    main()
