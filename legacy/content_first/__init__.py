"""The content-first ranking stack: it chooses items, and an item is what it contains."""

VERSION = "4.2.0"
