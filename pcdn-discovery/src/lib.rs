//! pcdn-discovery
