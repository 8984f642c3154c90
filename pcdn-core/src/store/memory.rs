//! Pieces in memory, the least recently used leaving first.
