"""The process that sinks run in: nothing here is for import by others."""
