"""Prints the OpenAPI document: `python -m aiserv.api > openapi.json`."""

import sys

from aiserv.api.openapi import text_of
from aiserv.api.routes import TABLE

sys.stdout.write(text_of(TABLE))
