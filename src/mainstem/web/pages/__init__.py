"""One file a page: it reads its evidence in one place and says what it shows."""
