-- What the reference server creates.
CREATE TABLE deployments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    instance_id TEXT NOT NULL,
    image_version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    container_runtime TEXT NOT NULL,
    startup_time_ms INTEGER NOT NULL,
    db_type TEXT NOT NULL,
    telemetry_version TEXT NOT NULL,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_instance_id ON deployments(instance_id);
CREATE INDEX idx_created_at ON deployments(created_at);
