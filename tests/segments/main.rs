//! What a playlist lists is replaced under its URL while nodes hold it, whole or in part: nobody ever gets bytes of both, the new
//! content is given once the origin's word on the old one is over, and nobody waits or asks for what was said lately. In virtual time,
//! against an origin that does what its script says.
#![allow(clippy::unwrap_used)]

mod held;
mod peers;
mod world;
