//! pcdn
