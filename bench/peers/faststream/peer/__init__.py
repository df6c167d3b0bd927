"""The order flow with FastStream and asyncpg: see ../README.md."""
