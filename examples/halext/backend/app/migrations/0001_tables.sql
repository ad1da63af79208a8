CREATE TABLE users (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    email TEXT,
    full_name TEXT,
    hashed_password TEXT NOT NULL,
    is_admin BOOLEAN NOT NULL DEFAULT FALSE,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE tasks (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    title TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    priority TEXT NOT NULL CHECK (priority IN ('low', 'medium', 'high')),
    status TEXT NOT NULL CHECK (status IN ('todo', 'in_progress', 'done')),
    suggestion TEXT,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX tasks_of_owner ON tasks (owner_id);

CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    title TEXT NOT NULL,
    location TEXT NOT NULL DEFAULT '',
    start_time TIMESTAMPTZ NOT NULL,
    end_time TIMESTAMPTZ NOT NULL,
    CHECK (end_time >= start_time)
);

CREATE INDEX events_of_owner ON events (owner_id, start_time);

CREATE TABLE conversations (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    title TEXT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX conversations_of_owner ON conversations (owner_id, updated_at);

CREATE TABLE chat_messages (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id BIGINT NOT NULL REFERENCES conversations ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL,
    model TEXT,
    node TEXT,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX messages_of_conversation ON chat_messages (conversation_id);

CREATE TABLE ai_client_nodes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hostname TEXT NOT NULL,
    port INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('unknown', 'online', 'offline')),
    models JSON NOT NULL,
    last_response_time_ms INTEGER,
    last_seen_at TIMESTAMPTZ,
    last_error TEXT,
    offline_since TIMESTAMPTZ,
    alerted BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (hostname, port)
);

CREATE TABLE api_keys (
    provider TEXT PRIMARY KEY,
    encrypted_key TEXT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
