"""The settings, from the environment."""

import os
import pathlib

DATABASE_URL = os.environ["DATABASE_URL"]
AMQP_URL = os.environ["AMQP_URL"]
MAIL_DIR = pathlib.Path(os.environ["MAIL_DIR"])

# Per queue and process: ../../README.md, "Tuning".
PREFETCH = int(os.environ.get("PREFETCH", "8"))
# Connections per process.
DATABASE_POOL = int(os.environ.get("DATABASE_POOL", "8"))
