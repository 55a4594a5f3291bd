"""Feature state that outlives a process: packed blobs and the log offset they stand at, in memory, LMDB or Redis/Valkey."""
