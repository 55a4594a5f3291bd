"""The back-fill where the data is large or lies elsewhere: many inputs, hash buckets, threads or Ray tasks, the same bits."""
