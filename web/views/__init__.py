"""The HTTP table, one file for each group of rows."""
