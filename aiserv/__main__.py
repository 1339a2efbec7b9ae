"""`python -m aiserv` is `aiserv`."""

from aiserv.cli import main

main()
