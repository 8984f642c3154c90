//! pcdn-media
