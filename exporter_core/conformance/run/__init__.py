"""Running clauses: the engine, its worker processes, the messages between them, and verdicts."""
