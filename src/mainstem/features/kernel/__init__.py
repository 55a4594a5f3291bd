"""The one compiled library that back-fill, apply and read share."""
