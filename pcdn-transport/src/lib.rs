//! pcdn-transport
