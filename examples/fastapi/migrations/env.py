"""Runs the migrations against DATABASE_URL."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, make_url, pool

fileConfig(context.config.config_file_name)

url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")

with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
