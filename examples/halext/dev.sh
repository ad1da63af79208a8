#!/bin/sh
# Backend on 8000 and frontend on 5173, both reloading. Access code: dev. Stop with ^C.
# PostgreSQL if DATABASE_URL names one that answers, else a file of SQLite.
set -eu
cd "$(dirname "$0")"

[ -d venv ] || python3 -m venv venv
venv/bin/pip install --quiet -r backend/requirements-dev.txt
[ -d frontend/node_modules ] || (cd frontend && npm ci)

export DEV_MODE=1
cd backend
if [ -n "${DATABASE_URL:-}" ] && ! ../venv/bin/python -c 'import app.db; app.db.engine.connect()' 2>/dev/null; then
    echo "PostgreSQL is away: using backend/halext.db"
    unset DATABASE_URL
fi
../venv/bin/python -m app.migrate
../venv/bin/uvicorn app.main:app --port 8000 --reload --reload-dir app &
backend=$!
trap 'kill $backend' EXIT
cd ../frontend
npm run dev
