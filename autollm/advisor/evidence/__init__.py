"""A user's logs as one source's outcome table: read, contexts and stopped runs minded."""
