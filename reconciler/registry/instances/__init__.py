"""Boot an artifact for its smoke test, and leave nothing behind: one module a stage, behind `protocol`."""
