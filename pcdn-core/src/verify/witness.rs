//! Witness statements.
