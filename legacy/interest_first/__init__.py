"""Interest-first: chooses interests for a person, then fills them with posts. A program of its own; see README.md."""

VERSION = "3.2.0"
STACK = "interest-first"
