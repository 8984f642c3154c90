//! pcdn-mapping
